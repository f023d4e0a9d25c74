"""What a model is asked, and the ways in which servers want to be asked it.

A server says what it cannot do with status 400, and is asked again in a plainer way: a JSON schema held to strictly
(the request that the SDK's `parse` makes), the schema alone, any JSON, plain text; without a temperature; with the
other name of the limit; without a system message.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple, get_args

Form = Literal["strict", "schema", "object", "text"]
FORMS: tuple[Form, ...] = get_args(Form)
Limit = Literal["max_tokens", "max_completion_tokens"]


class Question(NamedTuple):
    """What a model is asked."""

    system: str
    user: str
    schema_name: str
    schema: Mapping[str, Any]
    max_tokens: int
    """Of the answer."""


class Dialect(NamedTuple):
    """How a model on a server wants to be asked."""

    form: Form = "strict"
    limit: Limit = "max_tokens"
    temperature: bool = True
    system: bool = True

    def body(self, question: Question, model: str) -> dict[str, Any]:
        """Give the request."""
        messages = [{"role": "system", "content": question.system}, {"role": "user", "content": question.user}]
        if not self.system:
            messages = [{"role": "user", "content": f"{question.system}\n\n{question.user}"}]
        body: dict[str, Any] = {"model": model, "messages": messages, self.limit: question.max_tokens}
        if self.temperature:
            body["temperature"] = 0
        if self.form in ("strict", "schema"):
            strict = {"strict": True} if self.form == "strict" else {}
            schema = {"name": question.schema_name, "schema": dict(question.schema), **strict}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif self.form == "object":
            body["response_format"] = {"type": "json_object"}
        return body

    def plainer(self, complaint: str) -> "Iterator[Dialect]":
        """Give other ways to ask: first what the complaint names, then each in turn."""
        below = [self._replace(form=form) for form in FORMS[FORMS.index(self.form) + 1 :]]
        other = self._replace(limit="max_completion_tokens" if self.limit == "max_tokens" else "max_tokens")
        changes: list[tuple[tuple[str, ...], list[Dialect]]] = [
            (("max_tokens", "max_completion_tokens"), [other]),
            (("temperature",), [self._replace(temperature=False)]),
            (("response_format", "schema", "json", "strict", "structured"), below),
            (("system", "role"), [self._replace(system=False)]),
        ]
        for named in (True, False):
            for names, ways in changes:
                if any(name in complaint for name in names) == named:
                    yield from ways
