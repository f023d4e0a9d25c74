"""What identifies a view: the only place that reads or writes the address bar and the session.

`run=` and `viewer=` hold on every page: the session keeps them, because a click in the navigation drops them from the
address, and puts them back. Then `neuron=17`, `edit=17:add:2.0` (may repeat), the groups `of=`, `a_by=`, `a=`, `b_by=`,
`b=`, and the filters of the list of concepts, whose widgets Streamlit itself binds to the address. A value that cannot
be is a `UserError`, never a silent default.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from core.data.dataset import IdMap
from core.errors import ConfigError, DataError, near, one_line
from core.steering.steering import Edit, Steering
from core.steering.steering import parse_edits as parse_core_edits

RUN, VIEWER, NEURON, EDIT, WATCHED, LIST = "run", "viewer", "neuron", "edit", "watched", "list"
SEARCH, KIND, PURITY, HEAD, BAND, DEAD = "q", "about", "purity", "audience", "fires", "dead"
MAX_WATCHED = 20
"""Titles that a viewer can be built from."""
SORT, AUC, SOURCE, DENSITY, ACTIVE = "sort", "auc", "named", "density", "active"
FILTERS = (SEARCH, KIND, PURITY, HEAD, BAND, DEAD, SORT, AUC, SOURCE, DENSITY, ACTIVE)
MULTIPLE = (KIND, HEAD, BAND, SOURCE)
OF, A_BY, A, B_BY, B = CONTRAST = ("of", "a_by", "a", "b_by", "b")
"""Two groups: of what, and by what and which each is."""

PURITY_STEPS = {"50": 0.5, "80": 0.8, "95": 0.95}
"""Least purity@20, in percent as the page and the address show it."""
AUC_STEPS = {"0.6": 0.6, "0.7": 0.7, "0.8": 0.8}
"""Least lower end of the held-out AUC of a concept's surest fact."""
LADDER = ("0", *(f"{step:g}" for ten in range(-2, 2) for step in (10.0**ten * m for m in (1, 1.5, 2, 3, 5, 7))), "100")
"""Percents of viewers between which the density can be chosen; 0 and 100 let all pass."""
SORTS = (
    "Best first", "Evidence", "Held-out AUC", "Steer slope", "Purity", "Lift", "Most viewers", "Fewest viewers",
    "Most mainstream", "Most niche", "Stability", "Label A to Z",
)  # fmt: skip
"""Orders of the list; the first is the default."""
SOURCES = ("human", "llm", "keyword")
BANDS = {"Rare": (0.0, 0.01), "Common": (0.01, 0.2), "Widespread": (0.2, 1.0)}
"""By density, the share of viewers in whom a concept fires: above the first and up to the second number."""
AUDIENCES = ("Mainstream", "Balanced", "Niche")
"""By head share: the highest, the middle and the lowest third of the concepts."""
KINDS = ("Genre", "Tag", "Decade")


@dataclass(frozen=True)
class Filters:
    """Which concepts the list shows.

    Attributes:
        text: Part of a label or of a title, or `#` and an index; empty shows all.
        kinds: What the best-matching catalogue concept must be: genre, tag, decade; empty shows all.
        purity: Least purity@20 in [0, 1]; 0 shows all.
        audiences: By head share; empty shows all.
        bands: By density; empty shows all.
        dead: Show the neurons that never fire too.
        sort: One of `SORTS`; empty for the first.
        auc: Least lower end of the held-out AUC; 0 shows all.
        sources: Who gave the label; empty shows all.
        density: Least and largest share of viewers in whom a concept fires, in [0, 1]; None shows all.
        active: Only those that fire in the viewer of the side bar.
    """

    text: str = ""
    kinds: tuple[str, ...] = ()
    purity: float = 0.0
    audiences: tuple[str, ...] = ()
    dead: bool = False
    bands: tuple[str, ...] = ()
    sort: str = ""
    auc: float = 0.0
    sources: tuple[str, ...] = ()
    density: tuple[float, float] | None = None
    active: bool = False


def run_id(known: Sequence[str]) -> str:
    """Give the chosen run, the first of `known` (the newest) by default.

    Raises:
        ConfigError: The address names a run that is not there.
    """
    asked = _shared(RUN, known[0])
    if asked not in known:
        raise ConfigError(
            f"There is no run {one_line(asked, 60)!r} in this workspace{near(asked, known)}.",
            f"Choose a run in the side bar, or remove run= from the address: the newest is {known[0]!r}.",
        )
    return asked


def viewer(users: IdMap, default: str) -> str:
    """Give the id of the chosen viewer.

    Raises:
        DataError: There is no such viewer in this dataset.
    """
    asked = _shared(VIEWER, default)
    if asked not in users:
        raise DataError(
            f"There is no viewer {one_line(asked, 60)!r} among the {len(users):,} of this dataset.",
            f"Choose a viewer in the side bar, for example {default!r}.",
        )
    return asked


def _shared(key: str, default: str) -> str:
    """Give a choice that holds on every page: of the address, else of the session; both hold all but the default.

    The session is for addresses that a click in the navigation made empty. One that names a concept or edits is
    complete, for example after a step back: there the default was meant, and a number of another SAE would lie.
    """
    complete = NEURON in st.query_params or EDIT in st.query_params
    asked = _first(key) or (None if complete else st.session_state.get(f"chosen_{key}")) or default
    st.session_state[f"chosen_{key}"] = asked
    if asked != default and key not in st.query_params:
        st.query_params[key] = asked
    return str(asked)


def show_choice(key: str, value: str | None) -> str:
    """Before the widget of a shared choice: make it show `value`; gives the widget's key."""
    st.session_state[f"{key}_widget"] = value
    return f"{key}_widget"


def take_choice(key: str) -> None:
    """Take over what the widget of a shared choice holds; for callbacks.

    Another run has other viewers and concepts; a viewer of the log takes the place of one that was built from titles.
    """
    value = st.session_state.get(f"{key}_widget")
    if key == VIEWER:
        st.session_state.pop("watched_kept", None)
    gone = (RUN, VIEWER, NEURON, EDIT, LIST, *CONTRAST) if key == RUN else (VIEWER, WATCHED)
    for name in gone:
        st.session_state.pop(f"chosen_{name}", None)
    address = {name: st.query_params.get_all(name) for name in st.query_params if name not in gone}
    if value:
        st.session_state[f"chosen_{key}"] = str(value)
        address[key] = [str(value)]
    if not any(name in address for name in FILTERS):
        st.query_params.from_dict(address)  # at once: each write is a step for the back button
        return
    for name in {*gone, key} & set(st.query_params) - set(address):  # what is bound to a widget cannot be written again
        del st.query_params[name]
    if value:
        st.query_params[key] = str(value)


def neuron(d_sae: int, default: int) -> int:
    """Give the concept that the address names, else the one last looked at, else `default`.

    Raises:
        ConfigError: The address names something that is no neuron of this SAE.
    """
    text = _first(NEURON)
    if text is not None:
        chosen = parse_neuron(text, d_sae)
    else:
        last = st.session_state.get("chosen_neuron", default)
        chosen = last if 0 <= last < d_sae else default
    st.session_state["chosen_neuron"] = chosen
    st.query_params[NEURON] = str(chosen)  # also when it is there: a link to the same page does not change the address
    return int(chosen)


def set_neuron(value: int) -> None:
    """Move the Concept page to another concept; for callbacks."""
    st.query_params[NEURON] = str(value)


def edits(d_sae: int, run: str) -> Steering:
    """Give the edits of the address, else those that were last made on this run.

    Edits belong to one SAE: when another run is chosen, the ones in the address are put away with the run they were
    made on, for the same number means another concept there.

    Raises:
        ConfigError: One of them is no edit, or names a neuron that the SAE does not have.
    """
    texts = st.query_params.get_all(EDIT)
    kept = st.session_state.setdefault("edits_by_run", {})
    before = st.session_state.get("edits_run")
    if not texts or (before not in (None, run) and texts == kept.get(before)):
        texts = kept.get(run, [])
    steering = parse_edits(texts)
    steering.check_against(d_sae)
    st.session_state["edits_run"] = run
    set_edits(steering)
    return steering


def set_edits(steering: Steering) -> None:
    """Write edits to the address, and keep them for the way back to the page; none removes them."""
    texts = edit_texts(steering)
    st.session_state.setdefault("edits_by_run", {})[st.session_state.get("edits_run")] = texts
    if texts and texts != st.query_params.get_all(EDIT):
        st.query_params[EDIT] = texts
    elif not texts and EDIT in st.query_params:
        del st.query_params[EDIT]


def keep_released(shown: Steering, released: Steering) -> None:
    """Write what the sliders hold to the address, once a person has moved one."""
    if edit_texts(shown) != edit_texts(released):
        set_edits(released)
        st.session_state["edits_shown"] = edit_texts(released)


def edits_version(shown: Steering) -> int:
    """Give a number that grows whenever the edits were changed by anything but the sliders themselves."""
    if st.session_state.get("edits_shown") != edit_texts(shown):
        st.session_state["edits_shown"] = edit_texts(shown)
        st.session_state["edits_version"] = st.session_state.get("edits_version", 0) + 1
    return int(st.session_state.get("edits_version", 0))


def add_edit(key: str, steering: Steering) -> None:
    """Join the concept that the widget `key` holds, at rest, and empty the widget; for callbacks."""
    chosen = st.session_state.get(key)
    if chosen is not None:
        set_edits(Steering((*steering.edits, Edit(int(chosen), "add", 0.0))))
    st.session_state[key] = None


def watched(items: IdMap) -> list[int]:
    """Give the items of a viewer that was built from titles; none means a viewer of the log.

    Before the widget of the titles is drawn: it starts with what the address names.

    Raises:
        DataError: The address names an item that this dataset does not have.
    """
    ids = st.query_params.get_all(WATCHED) or [i for i in st.session_state.get("watched_kept", []) if i in items]
    chosen = [items.index(name) for name in dict.fromkeys(ids)][:MAX_WATCHED]
    st.session_state[WATCHED] = [items.ids[i] for i in chosen]
    save_watched()
    return chosen


def save_watched() -> None:
    """Write the chosen titles to the address, and keep them for the way back to the page; for callbacks."""
    st.session_state["watched_kept"] = ids = list(st.session_state.get(WATCHED) or [])
    if ids and ids != st.query_params.get_all(WATCHED):
        st.query_params[WATCHED] = ids
    elif not ids and WATCHED in st.query_params:
        del st.query_params[WATCHED]


def page_choice(key: str, known: Sequence[str] | IdMap | None, default: str) -> str:
    """Give a choice of one page: of the address, else what was last chosen in this session, else `default`.

    The address holds all but the default, so that a link shows the same. What was chosen before on another run, and
    is not known here, is left.

    Args:
        key: As the address writes it; no page uses another's.
        known: What can be chosen; None where every text can, which the page then checks.
        default: What is chosen at first.

    Raises:
        ConfigError: The address names something else.
    """
    named, kept = _first(key), st.session_state.get(f"chosen_{key}", default)
    if named is not None and known is not None and named not in known:
        choices = list(known.ids if isinstance(known, IdMap) else known)
        raise ConfigError(
            f"{key}={one_line(named, 60)} in the address is not one of those there are{near(named, choices)}.",
            f"Remove {key}= from the address, or choose on the page.",
        )
    chosen = str(named if named is not None else kept if known is None or kept in known else default)
    st.session_state[f"chosen_{key}"] = chosen
    if chosen != default and named is None:
        st.query_params[key] = chosen
    return chosen


def set_page_choice(key: str, value: str | None) -> None:
    """Choose on a page, None for its default; for callbacks."""
    st.session_state.pop(f"chosen_{key}", None)
    if value is None:
        if key in st.query_params:
            del st.query_params[key]
    else:
        st.session_state[f"chosen_{key}"] = value
        st.query_params[key] = value


def set_page_choices(values: Mapping[str, str]) -> None:
    """Choose several things on a page at once, which is one step for the back button."""
    for key, value in values.items():
        st.session_state[f"chosen_{key}"] = value
    address = {name: st.query_params.get_all(name) for name in st.query_params}
    st.query_params.from_dict(address | {key: [value] for key, value in values.items()})


def take_page_choice(key: str, default: str | None = None) -> None:
    """Take over what the widget of a page's choice holds (see `show_choice`); for callbacks.

    The default of the page, where it is given, is not written to the address.
    """
    value = st.session_state.get(f"{key}_widget")
    set_page_choice(key, None if value is None or value == default else str(value))


def keep(key: str, value: object) -> None:
    """Keep a value for the rest of this session, None to forget it: what can be undone, for example."""
    st.session_state[f"kept_{key}"] = value


def kept(key: str) -> Any:
    """Give what `keep` kept; None where there is nothing."""
    return st.session_state.get(f"kept_{key}")


def widget(key: str) -> Any:
    """Give what a widget holds before it is drawn; None where it was not there."""
    return st.session_state.get(key)


def contrast(run: str) -> dict[str, str]:
    """Give what the address says of the two groups, else what was last chosen on this run."""
    named = {key: text for key in CONTRAST if (text := _first(key)) is not None}
    return named or dict(st.session_state.get("contrast_by_run", {}).get(run, {}))


def save_contrast(run: str, texts: Mapping[str, str]) -> None:
    """Write the two groups to the address, and keep them for the way back to the page."""
    st.session_state.setdefault("contrast_by_run", {})[run] = dict(texts)
    if texts == {key: _first(key) for key in CONTRAST if key in st.query_params}:
        return
    address = {name: st.query_params.get_all(name) for name in st.query_params if name not in CONTRAST}
    st.query_params.from_dict(address | {key: [text] for key, text in texts.items()})


def show_contrast(key: str, value: str | None) -> str:
    """Before a widget of the two groups: make it show `value`; gives the widget's key."""
    st.session_state[f"contrast_{key}"] = value
    return f"contrast_{key}"


def take_contrast(run: str, key: str) -> None:
    """Take over what a widget of the two groups holds; for callbacks. What was chosen under it does not hold on."""
    under = {OF: CONTRAST, A_BY: (A_BY, A), B_BY: (B_BY, B)}.get(key, (key,))
    texts = {name: text for name, text in contrast(run).items() if name not in under}
    value = st.session_state.get(f"contrast_{key}")
    save_contrast(run, texts | ({key: str(value)} if value else {}))


def filters() -> Filters:
    """Give the filters of the list of concepts, as last chosen.

    Raises:
        ConfigError: The address holds a filter that cannot be.
    """
    saved = st.session_state.get("filters", {})
    return parse_filters({key: _all(key) or saved.get(key, []) for key in FILTERS})


def show_density() -> tuple[str, tuple[str, str]]:
    """Before the range of densities: give the widget's key, and the two of `LADDER` that it shows at first.

    Streamlit binds no range to the address, so it is written by `save_filters`. An address that was changed otherwise,
    for example by a step back, gets a new widget.
    """
    named, count = _all(DENSITY), st.session_state.get("n_density", 0)
    there = f"{DENSITY}_{count}" in st.session_state
    if there and named != st.session_state.get("density_written", []):
        st.session_state["n_density"] = count = count + 1
    elif not there:
        named = named or st.session_state.get("filters", {}).get(DENSITY, [])
    span = sorted(named, key=float) or [LADDER[0], LADDER[-1]]
    return f"{DENSITY}_{count}", (span[0], span[-1])


def seed_filters() -> None:
    """Before the widgets of the filters: bring back what was chosen before the page was left."""
    for key, values in st.session_state.get("filters", {}).items():
        if key not in st.query_params and key not in st.session_state and key != DENSITY:
            flag = values[0] == "true"
            st.session_state[key] = values if key in MULTIPLE else flag if key in (DEAD, ACTIVE) else values[0]


def save_filters() -> Filters:
    """After the widgets of the filters: remember what was chosen, and give it."""
    values = {key: _texts(st.session_state.get(key)) for key in FILTERS}
    span = _texts(st.session_state.get(f"{DENSITY}_{st.session_state.get('n_density', 0)}"))
    values[DENSITY] = [] if span == [LADDER[0], LADDER[-1]] else span
    st.session_state["density_written"] = values[DENSITY]
    if not values[DENSITY]:
        st.query_params.pop(DENSITY, None)
    elif values[DENSITY] != _all(DENSITY):
        st.query_params[DENSITY] = values[DENSITY]
    st.session_state["filters"] = {key: texts for key, texts in values.items() if texts}
    return parse_filters(values)


def clear_filters(search: str = "") -> None:
    """Show every concept again, or those that a search finds; for callbacks."""
    st.session_state["filters"] = {}
    for key in FILTERS:
        if key not in (SORT, DENSITY):
            st.session_state[key] = [] if key in MULTIPLE else False if key in (DEAD, ACTIVE) else None
    st.session_state[SEARCH] = search
    st.query_params.pop(DENSITY, None)


def link(**more: str | Sequence[str]) -> dict[str, Any]:
    """Give the query of a link to another page: run and viewer as they are now, and what is added."""
    address = st.query_params.to_dict()
    kept = {key: str(address[key]) for key in (RUN, VIEWER) if key in address}
    return kept | {key: value if isinstance(value, str) else list(value) for key, value in more.items()}


def parse_neuron(text: str, d_sae: int) -> int:
    """Read the index of a neuron.

    Raises:
        ConfigError: Not a whole number, or not one of this SAE.
    """
    if not (text.isascii() and text.isdigit() and int(text[:9]) < d_sae and len(text) <= 9):
        raise ConfigError(
            f"There is no concept #{one_line(text, 40)}: this SAE has {d_sae:,}, numbered 0 to {d_sae - 1}.",
            "Choose one in the list of concepts.",
        )
    return int(text)


def parse_edits(texts: Sequence[str]) -> Steering:
    """Read edits as the address bar writes them.

    Raises:
        ConfigError: A text that is no edit.

    >>> parse_edits(["17:add:2.0"]).edits[0]
    Edit(neuron=17, mode='add', value=2.0)
    """
    for text in texts:
        if text.count(":") != 2:
            raise ConfigError(
                f"{one_line(text, 60)!r} in the address is no edit.",
                "Write edit=CONCEPT:MODE:VALUE, for example edit=17:add:2.0, or remove it from the address.",
            )
    return parse_core_edits([text.replace(":", "=", 1) for text in texts])


def edit_texts(steering: Steering) -> list[str]:
    """Write edits as the address bar has them.

    >>> edit_texts(parse_edits(["17:add:2.0"]))
    ['17:add:2.0']
    """
    return [f"{e.neuron}:{e.mode}:{e.value!r}" for e in steering.edits]


def parse_filters(values: Mapping[str, Sequence[str]]) -> Filters:
    """Read the filters of the list of concepts.

    Raises:
        ConfigError: A value that is not one of the choices.
    """
    flags = ("true", "false")
    choices: dict[str, Iterable[str]] = {
        KIND: KINDS, HEAD: AUDIENCES, BAND: BANDS, PURITY: PURITY_STEPS, AUC: AUC_STEPS, SORT: SORTS,
        SOURCE: SOURCES, DENSITY: LADDER, DEAD: flags, ACTIVE: flags,
    }  # fmt: skip
    for key, allowed in choices.items():
        for value in values.get(key, ()):
            if value not in allowed:
                raise ConfigError(
                    f"The filter {key}={one_line(value, 40)} of the address is not one of: "
                    f"{', '.join(filter(None, allowed))}.",
                    "Remove it from the address, or choose the filter on the page.",
                )
    span = sorted(values.get(DENSITY, ()), key=float)
    return Filters(
        text=(list(values.get(SEARCH, ())) or [""])[0].strip(),
        kinds=tuple(values.get(KIND, ())),
        purity=max((PURITY_STEPS[v] for v in values.get(PURITY, ())), default=0.0),
        audiences=tuple(values.get(HEAD, ())),
        bands=tuple(values.get(BAND, ())),
        dead="true" in values.get(DEAD, ()),
        sort=next((name for name in values.get(SORT, ()) if name != SORTS[0]), ""),
        auc=max((AUC_STEPS[v] for v in values.get(AUC, ())), default=0.0),
        sources=tuple(values.get(SOURCE, ())),
        density=None if span in ([], [LADDER[0], LADDER[-1]]) else (float(span[0]) / 100, float(span[-1]) / 100),
        active="true" in values.get(ACTIVE, ()),
    )


def _texts(value: Any) -> list[str]:
    if isinstance(value, bool):
        return ["true"] if value else []
    if isinstance(value, list | tuple):
        return [str(v) for v in value]
    return [str(value)] if value else []


def _first(key: str) -> str | None:
    return str(st.query_params[key]) if key in st.query_params else None


def _all(key: str) -> list[str]:
    return [str(v) for v in st.query_params.get_all(key)]
