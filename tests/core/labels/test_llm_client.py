"""One question and its answer, against a server on a real socket: what servers and models do differently or wrongly."""

import asyncio
import json
import logging
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest
from openai.lib._parsing._completions import type_to_response_format_param

from core.__main__ import main
from core.labels.answers import Answer, Fault, check, read
from core.labels.calls import Calls
from core.labels.costs import NOTHING, Cap, CapReachedError
from core.labels.dialect import Dialect
from core.labels.endpoint import endpoint_of
from core.labels.failures import CallFailedError, Failure, ModelServerError
from core.labels.llm import Client
from core.labels.plan import Evidences
from core.labels.prompts import naming
from core.labels.runner import label_neurons
from core.runs import Run
from core.workspace import Workspace
from tests.core.labels.planted import PRICE, plan, planted, themes
from tests.llm_server import Call, LLMServer

KEY = "sk-Tr0ub4dor-and-3-more-words"


@pytest.fixture
def evidences(tmp_path: Path) -> Evidences:
    return Evidences(planted(tmp_path / "run", 6), "contrast")


def ask(server: LLMServer, evidences: Evidences, folder: Path, n: int = 1, *, key: str | None = None, **settings):
    """Ask about the first neurons at once; give the answers (or what was raised) and the client."""

    async def run():
        calls = Calls(Workspace(folder))
        cap = settings.pop("cap", None) or Cap(PRICE, None, None)
        endpoint = endpoint_of("reader", server.base_url, {"STEERLENS_LLM_KEY": key} if key else {})
        client = Client(endpoint, calls, cap, "job", **{"timeout_s": 2.0, "backoff_s": 0.01, **settings})
        cases = [evidences.case(j) for j in range(n)]
        questions = [naming(case.evidence, evidences.catalogue) for case in cases]
        try:
            return await asyncio.gather(*map(client.ask, questions), return_exceptions=True), client
        finally:
            await client.close()
            calls.close()

    return asyncio.run(run())


def script(*behaviours: str):
    """Give a behaviour for each call of one prompt, the last one for all that follow."""
    return lambda call: behaviours[min(call.nth, len(behaviours) - 1)]


def label_of(reply, evidences: Evidences, neuron: int = 0):
    answer = read(reply, Answer)
    assert isinstance(answer, Answer), answer
    return check(answer, evidences.case(neuron).evidence, evidences.catalogue)


@pytest.mark.parametrize("how", ["ok", "slow", "prose", "thinking", "parts", "no_usage"])
def test_an_answer_is_read_whatever_stands_around_it(how: str, evidences: Evidences, tmp_path: Path) -> None:
    with LLMServer(behave=how, slow_s=0.05) as server:
        (reply,), _ = ask(server, evidences, tmp_path)
    found = label_of(reply, evidences)
    assert found.label.casefold() == themes()[0] and len(found.evidence) >= 3


@pytest.mark.parametrize(
    ("how", "failure"),
    [
        ("invalid_json", Failure.UNREADABLE),
        ("schema_ignored", Failure.UNREADABLE),
        ("refusal", Failure.DECLINED),
        ("filtered", Failure.DECLINED),
        ("truncated", Failure.TRUNCATED),
        ("empty", Failure.EMPTY),
        ("wrong_ids", Failure.WRONG_EVIDENCE),
        ("long_label", Failure.INVALID),
    ],
)
def test_an_answer_that_cannot_be_used_has_a_name(
    how: str, failure: Failure, evidences: Evidences, tmp_path: Path
) -> None:
    with LLMServer(behave=how) as server:
        (reply,), _ = ask(server, evidences, tmp_path)
    answer = read(reply, Answer)
    found = answer if isinstance(answer, Fault) else check(answer, evidences.case(0).evidence, evidences.catalogue)
    assert isinstance(found, Fault) and found.failure is failure


@pytest.mark.parametrize(
    "behaviours",
    [("rate_limited", "ok"), ("error", "ok"), ("cut", "ok"), ("html", "ok"), ("down", "down", "error", "ok")],
)
def test_what_may_pass_is_tried_again(behaviours: tuple[str, ...], evidences: Evidences, tmp_path: Path) -> None:
    with LLMServer(behave=script(*behaviours)) as server:
        (reply,), client = ask(server, evidences, tmp_path)
        assert [call.behaviour for call in server.calls] == list(behaviours)
        keys = {call.headers["idempotency-key"] for call in server.calls}
    assert reply.text and client.n_calls == 1
    assert len(keys) == 1


@pytest.mark.parametrize(
    ("how", "failure"), [("rate_limited", Failure.RATE_LIMITED), ("error", Failure.SERVER), ("cut", Failure.CONNECTION)]
)
def test_after_three_retries_the_failure_has_a_name(
    how: str, failure: Failure, evidences: Evidences, tmp_path: Path
) -> None:
    with LLMServer() as server:
        server.behave = lambda call: "ok" if len(server.calls) == 1 else how
        (first, second), _ = ask(server, evidences, tmp_path, 2)
        assert len(server.calls) == 1 + 4
    assert first.text
    assert isinstance(second, CallFailedError) and second.failure is failure


def test_a_slow_server_is_left_after_the_time_limit(evidences: Evidences, tmp_path: Path) -> None:
    with LLMServer(slow_s=5.0) as server:
        server.behave = lambda call: "ok" if len(server.calls) == 1 else "slow"
        began = time.monotonic()
        (_, second), _ = ask(server, evidences, tmp_path, 2, timeout_s=0.15)
    assert isinstance(second, CallFailedError) and second.failure is Failure.TIMEOUT
    assert time.monotonic() - began < 4.0


def test_retry_after_is_honoured_by_every_call(evidences: Evidences, tmp_path: Path) -> None:
    at: list[float] = []

    def behave(call: Call) -> str:
        at.append(time.monotonic())
        return "rate_limited" if len(at) == 2 else "ok"

    with LLMServer(behave=behave, retry_after="0.6") as server:
        replies, _ = ask(server, evidences, tmp_path, 2)
    assert all(reply.text for reply in replies)
    assert at[2] - at[1] >= 0.6


def test_a_wait_that_is_too_long_is_not_waited_for(evidences: Evidences, tmp_path: Path) -> None:
    with LLMServer(behave="rate_limited", retry_after="3600") as server:
        (reply,), _ = ask(server, evidences, tmp_path)
        assert len(server.calls) == 1
    assert isinstance(reply, CallFailedError) and reply.failure is Failure.RATE_LIMITED


@pytest.mark.parametrize(
    ("refuses", "dialect"),
    [
        ({"strict"}, Dialect("schema")),
        ({"strict", "json_schema"}, Dialect("object")),
        ({"json_schema", "json_object"}, Dialect("text")),
        ({"temperature"}, Dialect(temperature=False)),
        ({"max_tokens"}, Dialect(limit="max_completion_tokens")),
        ({"system"}, Dialect(system=False)),
        (
            {"strict", "json_schema", "json_object", "temperature", "max_tokens", "system"},
            Dialect("text", "max_completion_tokens", False, False),
        ),
    ],
)
def test_a_server_that_cannot_do_something_is_asked_more_plainly_and_found_out_once(
    refuses: set[str], dialect: Dialect, evidences: Evidences, tmp_path: Path
) -> None:
    with LLMServer(refuses=frozenset(refuses)) as server:
        replies, client = ask(server, evidences, tmp_path, 5)
        refused = [call for call in server.calls if call.behaviour == "bad_parameter"]
        assert [bool(r.text) for r in replies] == [True] * 5
        assert len(server.calls) == len(refused) + 5
        schema = json.dumps(server.calls[-1].body["messages"])
    assert client.dialect == dialect
    assert len({json.dumps(call.body, sort_keys=True) for call in refused}) == len(refused) <= 8
    assert "additionalProperties" in schema


def test_a_server_that_takes_no_form_of_the_request_is_named_and_not_asked_for_ever(
    evidences: Evidences, tmp_path: Path
) -> None:
    with LLMServer(behave="bad_parameter") as server:
        (reply,), _ = ask(server, evidences, tmp_path)
        assert len(server.calls) <= 20
    assert isinstance(reply, CallFailedError) and reply.failure is Failure.REJECTED


def test_the_strict_form_is_what_the_sdk_s_parse_sends() -> None:
    form = type_to_response_format_param(Answer)["json_schema"]
    assert form["schema"] == Answer.model_json_schema() and form["strict"] is True


@pytest.mark.parametrize(
    ("how", "says"),
    [("no_model", "knows no model 'reader'"), ("no_quota", "no quota"), ("moved", "another address")],
)
def test_what_no_call_can_pass_is_said_at_once(how: str, says: str, evidences: Evidences, tmp_path: Path) -> None:
    with LLMServer(behave=how) as server:
        (reply,), _ = ask(server, evidences, tmp_path, key=KEY)
        assert len(server.calls) == 1
    assert isinstance(reply, ModelServerError) and says in reply.problem and KEY not in str(reply)


def test_a_server_that_is_down_is_named_after_retries(evidences: Evidences, tmp_path: Path) -> None:
    with LLMServer() as server:
        pass
    cap = Cap(PRICE, 1.0, None)
    (reply,), _ = ask(server, evidences, tmp_path, cap=cap)
    assert isinstance(reply, ModelServerError) and f"127.0.0.1:{server.port}" in reply.problem
    assert cap.spent == NOTHING  # nothing was sent, nothing is counted


def test_a_wrong_key_is_never_echoed_though_the_server_echoes_it(
    evidences: Evidences, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    with LLMServer(key="another") as server:
        (wrong,), _ = ask(server, evidences, tmp_path, key=KEY)
        (none,), _ = ask(server, evidences, tmp_path)
    assert isinstance(wrong, ModelServerError) and "does not take the key" in wrong.problem
    assert isinstance(none, ModelServerError) and "wants a key" in none.problem
    seen = f"{wrong!r} {wrong} {wrong.__cause__} {caplog.text} {''.join(capfd.readouterr())}"
    assert KEY not in seen and KEY[-8:] not in seen


@pytest.mark.parametrize("how", ["echoes_key", "error", "bad_parameter", "no_model", "ok"])
def test_no_file_holds_the_key_whatever_the_server_sends_back(how: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("STEERLENS_LLM_KEY", KEY)
    run = planted(tmp_path, 3)
    with LLMServer(behave=how) as server:
        chosen = replace(plan(server.base_url), endpoint=endpoint_of("reader", server.base_url))
        try:
            made = label_neurons(run, chosen)
        except ModelServerError:
            pass
        else:
            assert made.named.keys() == ({0, 1} if how == "ok" else set())
        assert {call.headers["authorization"] for call in server.calls} == {f"Bearer {KEY}"}
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert files and not any(KEY.encode() in file.read_bytes() for file in files)


def test_openai_s_key_and_organisation_go_to_openai_only(evidences: Evidences, tmp_path: Path, monkeypatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_ADMIN_KEY"):
        monkeypatch.setenv(name, KEY)
    with LLMServer() as server:
        ask(server, evidences, tmp_path)
        assert not any(KEY in value for value in server.calls[0].headers.values())


def test_a_server_that_counts_no_tokens_is_counted_with_the_most_a_call_can_take(
    evidences: Evidences, tmp_path: Path
) -> None:
    cap = Cap(PRICE, 1.0, None)
    with LLMServer(behave="no_usage") as server:
        ask(server, evidences, tmp_path, cap=cap)
        sent = len(json.dumps(server.calls[0].body, ensure_ascii=False).encode())
    assert cap.spent.tokens == sent + 64 + 400


def test_a_call_that_does_not_fit_under_the_cap_is_not_made(evidences: Evidences, tmp_path: Path) -> None:
    with LLMServer() as server:
        (reply,), _ = ask(server, evidences, tmp_path, cap=Cap(PRICE, 0.001, None))
        assert server.calls == []
    assert isinstance(reply, CapReachedError)


def test_commands_end_in_two_lines_and_never_in_a_traceback(
    tiny_run: Run, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    for name in ("OPENAI_API_KEY", "STEERLENS_LLM_KEY", "STEERLENS_HOSTED"):
        monkeypatch.delenv(name, raising=False)
    where = ["label", "--workspace", str(tiny_run.workspace.path)]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        away = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    for arguments, problem in [
        ([], "No model is named"),
        (["--llm", "gpt-4o-mini"], "no key for api.openai.com"),
        (["--llm", "x", "--base-url", "file:///etc/passwd"], "does not begin with http"),
        (["--llm", "x", "--base-url", "http://a:b@127.0.0.1/v1"], "carries credentials"),
        (["--llm", "x", "--base-url", away, "--budget", "1"], "price of 'x' is not known"),
        (["--llm", "x", "--base-url", away, "--price", "1,2", "--budget", "0"], "allows no call"),
        (["--llm", "x", "--base-url", away, "--price", "one"], "is no price"),
        (["--llm", "x", "--base-url", away, "--token-cap", "-5"], "allows no call"),
        (["--llm", "x", "--base-url", away, "--preset", "recsea"], "did you mean 'recsae'"),
        (["--llm", "x", "--base-url", away, "--run", "none"], "no run 'none'"),
    ]:
        assert main([*where, *arguments]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 2 and problem in lines[0], lines
    assert main([*where, "--llm", "x", "--base-url", away, "--dry-run"]) == 0
    assert "Nothing was sent" in capsys.readouterr().out
    assert not (tiny_run.workspace.path / "labels").exists()
