"""What a model answered, read and checked: a label that keeps the rules and that its evidence supports, or a fault.

What is guaranteed of every label: it has the asked form, it cites items that fire the neuron and were shown, and each
of its words either stood in no title that the model was shown, or is carried by at least three of the items that fire
the neuron, no less often than in the catalogue. So no label repeats what one or two titles say, whatever they say and
however well a model obeys them: the neuron is asked about again without those titles. What cannot be guaranteed: that
a model which obeys a title says what the title says. A title that is not recognised (`core.labels.screen`) can make it
answer with words of its own, and whoever writes three titles or more of one neuron writes its evidence. Against these
there is the test of a label on items that it was not made from.
"""

import json
import re
from collections.abc import Collection, Iterator
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from core.labels.calls import Reply
from core.labels.evidence import MIN_CARRIERS, Catalogue, Evidence
from core.labels.failures import Failure
from core.labels.screen import letters, words

Kind = Literal["genre", "theme", "era", "popularity", "franchise", "audience", "style", "mixed", "unclear"]
KINDS: tuple[str, ...] = get_args(Kind)
MAX_LABEL_WORDS, MAX_DESCRIPTION_WORDS = 5, 25
UNCLEAR = "Unclear"
_MAX_CHARS = {"label": 60, "description": 300}
_CHARS = {"label": re.compile(r"[\w \-–'’&/+.,()%]+"), "description": re.compile(r"[\w \-–—'’‘“”\"&/+.,;:()%!?]+")}
_ADDRESS = re.compile(r"https?:|www\.|\w\.(com|org|net|io|ru)\b|\d{5,}", re.IGNORECASE)
_NO_LABEL = {"label", "none", "n/a", "na", "unknown", "unclear", "concept", "title", "string", "null", "no label"}
_SMALL = set(words("a an and as at by for from in into of on or the their to with without it is are who"))
_THINKING = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_OPEN, _CLOSED = re.compile(r"<think(?:ing)?>", re.IGNORECASE), re.compile(r"</think(?:ing)?>", re.IGNORECASE)
_MIN_HIDDEN = 5
"""Letters of a word that is looked for inside titles, whatever stands between the letters."""
_RUN = 3
"""Words in a row that a description may not take from a title."""


class _Strict(BaseModel):
    """What comes beside the asked keys is not looked at; the schema says that there is nothing else."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="ignore", json_schema_extra={"additionalProperties": False})


class Answer(_Strict):
    """What is asked of a model that names a neuron; reasons first, so that the label follows from them."""

    evidence: list[str]
    kind: Kind
    description: str
    label: str


class Verdict(_Strict):
    """What is asked of a model that judges items."""

    fits: list[str]


Form = TypeVar("Form", bound=_Strict)


class Label(NamedTuple):
    """A label that was checked."""

    label: str
    description: str
    kind: str
    evidence: tuple[int, ...]
    """Items."""


class Fault(NamedTuple):
    """Why an answer was not taken."""

    failure: Failure
    remark: str = ""
    """What to tell the model, in our own words."""
    withhold: frozenset[int] = frozenset()
    """Items whose titles it may not see again."""


def read(reply: Reply, form: type[Form]) -> Form | Fault:
    """Find the object of the asked form in an answer: the first one that is whole, whatever stands around it."""
    if reply.refusal or reply.finish == "content_filter":
        return Fault(Failure.DECLINED)
    cut = reply.finish == "length"
    text = _THINKING.sub("", reply.text)
    text = _CLOSED.split(text)[-1] if _CLOSED.search(text) else text
    text = _OPEN.split(text)[0]
    if not text.strip():
        return Fault(Failure.TRUNCATED if cut else Failure.EMPTY, "The answer was empty. Answer with the JSON object.")
    for found in _objects(text):
        try:
            return form.model_validate(found)
        except ValidationError:
            continue
    return Fault(Failure.TRUNCATED if cut else Failure.UNREADABLE, "Answer with the JSON object alone.")


def check(answer: Answer, evidence: Evidence, catalogue: Catalogue, withheld: Collection[int] = ()) -> Label | Fault:
    """Check an answer against the rules and against what the model was shown.

    Args:
        answer: As read.
        evidence: What it was shown.
        catalogue: The items.
        withheld: Items whose titles it was not shown.
    """
    label = " ".join(answer.label.split()).strip("\"'“”‘’.").strip()
    description = " ".join(answer.description.split())
    if answer.kind == "unclear" or (answer.kind == "mixed" and label.casefold() in _NO_LABEL | {""}):
        label = UNCLEAR if answer.kind == "unclear" else "Mixed"
    elif label.casefold() in _NO_LABEL | {""}:
        return Fault(Failure.INVALID, "The label was none. Name the concept, or say that it is unclear.")
    for name, text, most in (("label", label, MAX_LABEL_WORDS), ("description", description, MAX_DESCRIPTION_WORDS)):
        if len(text.split()) > most or len(text) > _MAX_CHARS[name]:
            return Fault(Failure.INVALID, f"The {name} had more than {most} words. Use fewer.")
        if (text and not _CHARS[name].fullmatch(text)) or _ADDRESS.search(text):
            return Fault(Failure.INVALID, f"The {name} held characters or addresses that it may not hold.")
    if not re.search(r"[^\W\d_]", label) or not description:
        return Fault(Failure.INVALID, "The label and the description must be words.")
    cited = _cited(answer, evidence)
    if isinstance(cited, Fault):
        return cited
    sources = _unsupported(label, description, evidence, catalogue, withheld)
    if sources:
        return Fault(Failure.UNSUPPORTED, "Name what the items share, not what single titles say.", sources)
    return Label(label[:1].upper() + label[1:], description, answer.kind, cited)


def _cited(answer: Answer, evidence: Evidence) -> tuple[int, ...] | Fault:
    """Give the items that an answer cites; they have to be among the firing ones that were shown."""
    given = {shown.id: shown.item for shown in evidence.active}
    ids = list(dict.fromkeys(name.strip() for name in answer.evidence))
    if any(name not in given for name in ids) or (not ids and answer.kind not in ("mixed", "unclear")):
        return Fault(Failure.WRONG_EVIDENCE, f"As evidence name ids from A1 to A{len(given)}, nothing else.")
    return tuple(given[name] for name in ids)


def _unsupported(
    label: str, description: str, evidence: Evidence, catalogue: Catalogue, withheld: Collection[int]
) -> frozenset[int]:
    """Give the shown items from whose titles words were taken that the neuron's items do not share."""
    titles = {
        s.item: title
        for s in (*evidence.active, *evidence.silent)
        if s.item not in withheld and (title := catalogue.titles[s.item]) is not None
    }
    squeezed = {item: letters(title) for item, title in titles.items()}
    spoken = {item: set(words(title)) for item, title in titles.items()}
    asked = [word for word in words(label) if word not in _SMALL]
    hidden = {word for word in (letters(w) for w in [*asked, "".join(asked)]) if len(word) >= _MIN_HIDDEN}
    taken: set[int] = set()
    for word in {*asked, *hidden}:
        if _shared(word, evidence, catalogue):
            continue
        taken |= {item for item, said in spoken.items() if word in said}
        if word in hidden and not all(_shared(part, evidence, catalogue) for part in asked):
            taken |= {item for item, text in squeezed.items() if word in text or word[::-1] in text}
    runs = set(_runs(words(description)))
    taken |= {item for item, title in titles.items() if runs & set(_runs(words(title)))}
    return frozenset(taken)


def _shared(word: str, evidence: Evidence, catalogue: Catalogue) -> bool:
    """Say whether enough items that fire the neuron carry a word, and no smaller share of them than of all items."""
    carriers = catalogue.carriers.get(word, frozenset())
    n = len(carriers.intersection(evidence.firing.tolist()))
    return n >= MIN_CARRIERS and n / len(evidence.firing) >= len(carriers) / catalogue.n_explaining


def _runs(spoken: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Give the runs of three words, of which at least two mean something."""
    for start in range(len(spoken) - _RUN + 1):
        run = spoken[start : start + _RUN]
        if sum(word not in _SMALL for word in run) >= 2:
            yield run


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Give the JSON objects in a text, in the order in which they begin."""
    decoder = json.JSONDecoder()
    for brace in list(re.finditer(r"\{", text))[:50]:
        try:
            found, _ = decoder.raw_decode(text, brace.start())
        except (ValueError, RecursionError):
            continue
        yield found
