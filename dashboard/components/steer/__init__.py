"""The live steering element: sliders and lists that re-rank in the browser while a thumb moves.

Where the scores are linear in the sliders, `score'_i = score_i + sum_j value_j * row_j[i]`, the rows of the chosen
neurons go to the browser once and nothing travels during a drag. When a thumb is released the values come here, are
checked like anything else a browser sends, and Python ranks again with `rerank`: it is the authority, and the two
agree exactly. Where the scores are not linear, the old list dims while a thumb moves, and `SteerInput.recompute`
answers with the new scores once it is released.

Several mounts make up the element: one brings the payload as bytes (the same between reruns, so Streamlit sends it
once), one the sliders with their few settings, and one the answer where the server computes. A page therefore passes
the values it knows on every run, at no cost.
"""

import hashlib
import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import streamlit as st

from core.errors import ConfigError, UserError
from core.recommenders.base import rank

LIMIT = 3.0
"""The range of a slider, in units of "strong"."""
STEP = 0.05
"""What one key press moves, in units of "strong"."""
MAX_NEURONS = 8
MAX_TEXT = 300
"""Characters of a title, a label or a genre that are shown; the rest is cut."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_HERE = Path(__file__).parent
_PARTS = ("dom.js", "engine.js", "sliders.js", "lists.js", "why.js", "element.js")
_element = st.components.v2.component(
    "steerlens_steer",
    css=(_HERE / "steer.css").read_text("utf-8"),
    js="\n".join((_HERE / part).read_text("utf-8") for part in _PARTS),
)


class Catalogue(NamedTuple):
    """The texts of all items, packed once by `pack_items`; the same for every viewer."""

    n_items: int
    texts: bytes


class SteerTarget(NamedTuple):
    """What a slider is about: its items in the list are counted while this slider is the most moved one."""

    name: str
    mask: np.ndarray
    """(n_items,) bool."""


class SteerNeuron(NamedTuple):
    """One slider."""

    neuron: int
    """Index in the SAE."""
    label: str
    unit: float
    """The activation that counts as 1.0 x strong, above 0. A slider at s adds s * unit to the activation."""
    activation: float
    """The viewer's own activation, drawn as a tick."""
    row: np.ndarray | None
    """(n_items,) float32: what +1 activation adds to each item's score for this viewer (his scale is already in it).
    None where the server computes."""
    value: float = 0.0
    """The added activation that the slider shows when the element takes values over; see `SteerInput.version`."""
    target: SteerTarget | None = None


class SteerAnswer(NamedTuple):
    """What the released values make of the scores, where they are not linear."""

    scores: np.ndarray
    """(n_items,) float32: the steered scores."""
    parts: np.ndarray
    """(n_neurons, n_items) float32: what each slider has of the change; the parts sum to it."""


class SteerInput(NamedTuple):
    """Everything the element shows for one viewer."""

    items: Catalogue
    base_scores: np.ndarray
    """(n_items,) float32: the recommender's own scores."""
    reconstructed: np.ndarray
    """Item indices of the list under the SAE without edits, best first."""
    seen: np.ndarray
    """Item indices that are never listed."""
    neurons: Sequence[SteerNeuron]
    """At most 8, no neuron twice."""
    n: int = 20
    version: int = 0
    """Raise it to make the sliders take the neurons' `value`s over (a preset, a shared link). As long as it, the viewer
    and the neurons stay the same, the sliders keep what the person has set; `value` is only the start of a new mount.
    """
    can_add: bool = False
    """Whether a button "Add a concept" is shown; it gives the event `add`."""
    recompute: Callable[[Sequence[float]], SteerAnswer] | None = None
    """Answers for the values of all sliders, in their order. Given where the scores are not linear: then no neuron has
    a `row`."""


class SteerEvent(NamedTuple):
    """A click that only the page can answer."""

    kind: Literal["remove", "add"]
    neuron: int | None


class SteerOutput(NamedTuple):
    """What the element holds now, checked."""

    values: tuple[tuple[int, float], ...]
    """(neuron, added activation) of every slider, in their order; 0 for one that is muted."""
    released: bool
    """Whether the values come from the browser; otherwise they are the `value`s that were passed."""
    event: SteerEvent | None
    """Set in the one run that follows the click."""


def pack_items(items: Sequence[tuple[str, int | None, Sequence[str]]]) -> Catalogue:
    """Pack (title, year, genres) of all items, in the order of the item index. Titles may hold anything."""
    vocabulary: dict[str, int] = {}
    texts = {
        "titles": [_CONTROL.sub(" ", title[:MAX_TEXT]).strip() or "(no title)" for title, _, _ in items],
        "years": [year for _, year, _ in items],
        "genres": [[vocabulary.setdefault(g[:MAX_TEXT], len(vocabulary)) for g in genres] for _, _, genres in items],
        "vocabulary": list(vocabulary),
    }
    return Catalogue(len(items), _json(texts))


def show_steer(key: str, given: SteerInput) -> SteerOutput:
    """Draw the element and give what it holds.

    Args:
        key: Names the element in the page; the same on every run.
        given: What to show. `value`s beyond the sliders' range are moved to its end.

    Raises:
        UserError: The browser sent something that cannot be.
        ValueError: `given` does not fit together (shapes, not finite, too many neurons).
    """
    _check(given)
    core, payload = _pack(key, given)
    start = [_clamp(x.value, LIMIT * x.unit) for x in given.neurons]
    control = {
        "slot": key,
        "core": core,
        "version": given.version,
        "start": start,
        "limit": LIMIT,
        "step": STEP,
        "canAdd": given.can_add and len(given.neurons) < MAX_NEURONS,
    }
    with st.container(gap=None):
        result = _element(
            key=key, data=control, on_released_change=lambda: None, on_event_change=lambda: None, height="content"
        )
        _element(key=f"{key}-payload", data=payload, height="content")
        values = parse_released(result.get("released"), given.neurons, core=core, version=given.version)
        held = values or tuple((x.neuron, v) for x, v in zip(given.neurons, start, strict=True))
        if given.recompute is not None:
            _element(key=f"{key}-answer", data=_answer(key, core, given, [v for _, v in held]), height="content")
    return SteerOutput(
        values=held,
        released=values is not None,
        event=parse_event(result.get("event"), given.neurons),
    )


def parse_released(
    raw: object, neurons: Sequence[SteerNeuron], *, core: str, version: int
) -> tuple[tuple[int, float], ...] | None:
    """Read the values that the browser sent, or None where it sent none for these very sliders.

    Args:
        raw: What came: `{"core", "version", "values"}`, or anything.
        neurons: The sliders that were shown.
        core: What was shown; values of another viewer or other neurons are out of date, which is no error.
        version: See `SteerInput.version`.

    Raises:
        UserError: Not of this form, a value that is no finite number, or one beyond its slider.
    """
    if raw is None:
        return None
    if not isinstance(raw, dict) or set(raw) != {"core", "version", "values"}:
        raise _refused("the sliders' state has another form than expected")
    if raw["core"] != core or raw["version"] != version:
        return None
    values = raw["values"]
    if not isinstance(values, list) or len(values) != len(neurons):
        raise _refused(f"expected {len(neurons)} slider values")
    return tuple((x.neuron, _value(v, x)) for x, v in zip(neurons, values, strict=True))


def parse_event(raw: object, neurons: Sequence[SteerNeuron]) -> SteerEvent | None:
    """Read a click.

    Raises:
        UserError: An unknown kind, or a neuron without a slider.
    """
    if raw is None:
        return None
    if not isinstance(raw, dict) or set(raw) != {"kind", "neuron"}:
        raise _refused("an event has another form than expected")
    kind, neuron = raw["kind"], raw["neuron"]
    if kind == "add" and neuron is None:
        return SteerEvent("add", None)
    if kind != "remove":
        raise _refused(f"there is no event {kind!r}")
    if isinstance(neuron, bool) or not isinstance(neuron, int) or neuron not in {x.neuron for x in neurons}:
        raise _refused(f"there is no slider for neuron {neuron!r}")
    return SteerEvent("remove", neuron)


def rescore(base_scores: np.ndarray, rows: Sequence[np.ndarray], values: Sequence[float]) -> np.ndarray:
    """Give the steered scores (n_items,) as the browser does: float32 products and sums, in the order of `rows`."""
    scores = np.array(base_scores, np.float32)
    for row, value in zip(rows, values, strict=True):
        if np.float32(value) != 0:
            scores += np.float32(value) * np.asarray(row, np.float32)
    return scores


def rerank(
    base_scores: np.ndarray, rows: Sequence[np.ndarray], values: Sequence[float], seen: np.ndarray, n: int
) -> np.ndarray:
    """Give the steered list: the twin of the browser's, item for item (at most `n` item indices, best first).

    >>> rerank(np.array([1, 2, 3.0]), [np.array([1, 0, 0.0])], [2.5], np.array([2]), 2).tolist()
    [0, 1]
    """
    listed = rank(rescore(base_scores, rows, values)[None], n, [np.asarray(seen, np.int64)])[0]
    return listed[listed >= 0]


def _check(given: SteerInput) -> None:
    n_items = given.items.n_items
    ids = [x.neuron for x in given.neurons]
    if len(ids) > MAX_NEURONS or len(set(ids)) != len(ids):
        raise ValueError(f"neurons {ids}: expected at most {MAX_NEURONS}, none twice")
    arrays = [("base_scores", given.base_scores)]
    if given.recompute is None:
        arrays += [(f"row of {x.neuron}", x.row) for x in given.neurons]
    elif any(x.row is not None for x in given.neurons):
        raise ValueError("rows are given, and the server is to compute")
    for name, array in arrays:
        if array is None or np.shape(array) != (n_items,) or not np.isfinite(array).all():
            raise ValueError(f"{name}: expected {n_items} finite numbers, shape {np.shape(array)}")
    for x in given.neurons:
        if not (x.unit > 0 and all(math.isfinite(v) for v in (x.unit, x.activation, x.value))):
            raise ValueError(f"neuron {x.neuron}: unit {x.unit} activation {x.activation} value {x.value}")
        if x.target is not None and np.shape(x.target.mask) != (n_items,):
            raise ValueError(f"target of {x.neuron}: shape {np.shape(x.target.mask)}, expected ({n_items},)")
    for name, indices in (("reconstructed", given.reconstructed), ("seen", given.seen)):
        array = np.asarray(indices)
        if array.size and (array.min() < 0 or array.max() >= n_items):
            raise ValueError(f"{name}: item indices from 0 to {n_items - 1} expected")


def _pack(key: str, given: SteerInput) -> tuple[str, bytes]:
    """Give the fingerprint of what is shown, and the payload that `readPayload` in engine.js reads."""
    seen = np.unique(np.asarray(given.seen, np.int32))
    reconstructed = np.asarray(given.reconstructed, np.int32)[: given.n]
    neurons = [
        {
            "neuron": int(x.neuron),
            "label": x.label[:MAX_TEXT],
            "unit": float(x.unit),
            "activation": float(x.activation),
            "target": None if x.target is None else x.target.name[:MAX_TEXT],
        }
        for x in given.neurons
    ]
    header = {
        "slot": key,
        "n": given.n,
        "nItems": given.items.n_items,
        "live": given.recompute is None,
        "neurons": neurons,
        "nSeen": len(seen),
        "nReconstructed": len(reconstructed),
    }
    body = b"".join(
        [
            np.ascontiguousarray(given.base_scores, "<f4").tobytes(),
            *(np.ascontiguousarray(x.row, "<f4").tobytes() for x in given.neurons if x.row is not None),
            seen.astype("<i4").tobytes(),
            reconstructed.astype("<i4").tobytes(),
            *(np.asarray(x.target.mask, bool).astype("u1").tobytes() for x in given.neurons if x.target is not None),
            given.items.texts,
        ]
    )
    core = hashlib.blake2b(_json(header) + body, digest_size=8).hexdigest()
    return core, _framed({**header, "core": core}, body)


def _answer(key: str, core: str, given: SteerInput, values: Sequence[float]) -> bytes:
    """Ask for the answer to some values, and give it as `readAnswer` in engine.js reads it."""
    assert given.recompute is not None
    answer = given.recompute(values)
    shape = (len(given.neurons), given.items.n_items)
    if np.shape(answer.scores) != shape[1:] or np.shape(answer.parts) != shape:
        raise ValueError(f"an answer of shapes {np.shape(answer.scores)} and {np.shape(answer.parts)}, not of {shape}")
    header = {"slot": key, "core": core, "nItems": shape[1], "answers": list(values)}
    return _framed(header, b"".join(np.ascontiguousarray(a, "<f4").tobytes() for a in answer))


def _framed(header: dict[str, Any], body: bytes) -> bytes:
    """Put the length of the header as a uint32 and the header as JSON before the arrays."""
    head = _json(header)
    return len(head).to_bytes(4, "little") + head + body


def _value(raw: Any, neuron: SteerNeuron) -> float:
    limit = LIMIT * neuron.unit
    if isinstance(raw, bool) or not isinstance(raw, int | float) or (isinstance(raw, float) and math.isnan(raw)):
        raise _refused(f"the value of neuron {neuron.neuron} is a {type(raw).__name__}, expected a number")
    if abs(raw) > limit * (1 + 1e-9):  # also infinity, and whole numbers that no float can hold
        raise _refused(f"the value of neuron {neuron.neuron} is beyond ±{limit:g}")
    return _clamp(float(raw), limit)


def _refused(reason: str) -> UserError:
    return ConfigError(f"The browser sent values that cannot be: {reason}.", "Reload the page.")


def _clamp(value: float, limit: float) -> float:
    return min(limit, max(-limit, float(value)))


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8", "replace")
