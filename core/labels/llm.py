"""One question to a model on an OpenAI-compatible server, and its answer: whatever server, whatever model.

The first call finds out how the model wants to be asked (`core.labels.dialect`), for all. The SDK's own retries are
off: they would call again without a reservation, and the cap could be passed.
"""

import asyncio
import contextlib
import email.utils
import hashlib
import json
import random
import time
from collections.abc import Mapping
from typing import Any

import httpx2
import openai

from core.labels.calls import Calls, Reply, key_of, now
from core.labels.costs import NOTHING, Cap, Tokens, most_tokens, usd
from core.labels.dialect import Dialect, Limit, Question
from core.labels.endpoint import KEY_VARIABLE, OPENAI_HOST, Endpoint
from core.labels.failures import CallFailedError, Failure, ModelServerError

PATH = "/chat/completions"
TIMEOUT_S, N_RETRIES = 60.0, 3
BACKOFF_S, LONGEST_WAIT_S = 0.5, 60.0
N_IN_A_ROW = 8
"""Calls one after another that reach no server: the run stops."""
_AWAY = (Failure.CONNECTION, Failure.TIMEOUT, Failure.SERVER)


class Client:
    """Asks one model, with what was asked before kept, and every call within the cap.

    Args:
        endpoint: Where.
        calls: Answers and costs of the workspace.
        cap: Money and tokens.
        job: Under which name costs are counted.
        timeout_s: For one call.
        backoff_s: The first wait after a failure; doubles each time.
    """

    def __init__(
        self, endpoint: Endpoint, calls: Calls, cap: Cap, job: str, timeout_s: float = TIMEOUT_S,
        backoff_s: float = BACKOFF_S,
    ) -> None:  # fmt: skip
        self._endpoint, self._calls, self._cap, self._job = endpoint, calls, cap, job
        self._timeout_s, self._backoff_s = timeout_s, backoff_s
        self._sdk = openai.AsyncOpenAI(
            base_url=endpoint.base_url, api_key=endpoint.key.value if endpoint.key else "none", timeout=timeout_s,
            max_retries=0, http_client=openai.DefaultAsyncHttpxClient(follow_redirects=False, timeout=timeout_s),
        )  # fmt: skip
        if endpoint.host != OPENAI_HOST:
            # The SDK reads these from the environment; they are for OpenAI alone.
            self._sdk.organization = self._sdk.project = self._sdk.admin_api_key = None
        limit: Limit = "max_completion_tokens" if endpoint.host == OPENAI_HOST else "max_tokens"
        self.dialect = Dialect(limit=limit)
        self._known = False
        self._finding_out = asyncio.Lock()
        self._pause_until = 0.0
        self._in_a_row = 0
        self.stopping = asyncio.Event()
        """Once set, no call begins; those under way end."""
        self.n_calls = 0
        """Answered by the server in this process, not out of what is kept."""

    async def close(self) -> None:
        """Close the connections."""
        await self._sdk.close()

    async def ask(self, question: Question, fresh: bool = False) -> Reply:
        """Give the answer of the model; what was asked before is not asked again.

        Args:
            question: What.
            fresh: Ask again, also what was asked before.

        Raises:
            CallFailedError: There is none, after retries.
            CapReachedError: The call could pass the cap.
            ModelServerError: No call can succeed.
        """
        messages = ({"system": question.system}, {"user": question.user})
        parameters = {"schema": question.schema, "max_tokens": question.max_tokens}
        key = key_of(self._endpoint.base_url, self._endpoint.model, messages, **parameters)
        kept = None if fresh else self._calls.find(key)
        if kept is not None:
            return kept
        mark = str(time.time_ns()) if fresh else ""
        async with self._finding_out:
            if not self._known:  # one call finds out how to ask; the others wait for it
                return await self._with_retries(question, key, mark)
        return await self._with_retries(question, key, mark)

    async def _with_retries(self, question: Question, key: str, mark: str) -> Reply:
        for attempt in range(N_RETRIES + 1):
            await self._wait(self._pause_until - time.monotonic())
            try:
                reply = await self._in_a_dialect(question, key, mark)
            except _PassingError as failed:
                if attempt == N_RETRIES or failed.wait_s > LONGEST_WAIT_S:
                    raise self._given_up(failed.failure) from None
                wait = failed.wait_s or self._backoff_s * 2**attempt * random.uniform(0.75, 1.25)
                if failed.failure is Failure.RATE_LIMITED:  # it holds for every call to this server
                    self._pause_until = max(self._pause_until, time.monotonic() + wait)
                else:
                    await self._wait(wait)
            else:
                self._in_a_row, self._known = 0, True
                return reply
        raise AssertionError("the last attempt returns or raises")

    async def _in_a_dialect(self, question: Question, key: str, mark: str) -> Reply:
        tried = {self.dialect}
        dialect = self.dialect
        while True:
            try:
                reply = await self._call(dialect.body(question, self._endpoint.model), question, key, mark)
            except openai.APIStatusError as error:
                other = (
                    None if self._known else next((d for d in dialect.plainer(_text(error)) if d not in tried), None)
                )
                if other is None:
                    raise CallFailedError(Failure.REJECTED, f"Status {error.status_code}.") from None
                tried.add(other)
                dialect = other
            else:
                self.dialect = dialect
                return reply

    async def _call(self, body: dict[str, Any], question: Question, key: str, mark: str) -> Reply:
        """Make one call: reserve, write down, call, settle."""
        written = json.dumps(body, ensure_ascii=False)
        most = most_tokens([written], question.max_tokens)
        reserved = await self._cap.reserve(most)
        call = self._calls.begin(self._job, reserved)
        used, reply = reserved, None  # what holds when nobody learns how the call ended
        try:
            text = await self._send(body, hashlib.sha256(f"{mark}{written}".encode()).hexdigest())
            reply = _reply(text, most, self._cap)
            if reply is not None:
                used = self._cap.usage(reply.tokens)
        except openai.APIStatusError as error:
            used = NOTHING
            self._judge(error)
            raise
        except (openai.APIError, TimeoutError) as error:
            if isinstance(error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout):
                used = NOTHING  # nothing was sent
            late = isinstance(error, openai.APITimeoutError | TimeoutError)
            raise _PassingError(Failure.TIMEOUT if late else Failure.CONNECTION) from None
        finally:
            hidden = reply is not None and self._leaks(reply)
            self._calls.end(call, used, key, None if hidden else reply)
            await asyncio.shield(self._cap.settle(reserved, used))
        if reply is None:
            raise _PassingError(Failure.SERVER)
        self.n_calls += 1
        if hidden:
            raise CallFailedError(Failure.INVALID, "The answer held the key.")
        return reply

    async def _send(self, body: dict[str, Any], once: str) -> str:
        # Servers that know this header bill a call that comes twice, after a cut or a kill, once.
        options: openai.RequestOptions = {"headers": {"Idempotency-Key": once}}
        async with asyncio.timeout(self._timeout_s):
            response = await self._sdk.post(PATH, cast_to=httpx2.Response, body=body, options=options)
        return response.text

    def _judge(self, error: openai.APIStatusError) -> None:
        """Raise what a status means; return where another way to ask may help."""
        status, host = error.status_code, self._endpoint.host
        if status in (401, 403):
            raise ModelServerError(
                f"{host} does not take the key (status {status})." if self._endpoint.key else f"{host} wants a key.",
                f"Set {KEY_VARIABLE} in the environment to a key of this server.",
            ) from None
        if status == 404:
            raise ModelServerError(
                f"{host} knows no model {self._endpoint.model!r}, or the address is not that of its API (status 404).",
                "Check --llm, and that --base-url ends as the server's own pages say, usually in /v1.",
            ) from None
        if status in (402, 429) and (status == 402 or "insufficient_quota" in _text(error)):
            raise ModelServerError(f"The account at {host} has no quota left.", "Add to it, or name another server.")
        if status == 429:
            raise _PassingError(Failure.RATE_LIMITED, _wait(error.response.headers)) from None
        if status in (408, 409) or status >= 500:
            raise _PassingError(Failure.SERVER, _wait(error.response.headers)) from None
        if status < 400:
            raise ModelServerError(
                f"{host} sends calls on to another address (status {status}).", "Give that address with --base-url."
            ) from None

    async def _wait(self, seconds: float) -> None:
        """Wait, unless the run is stopped."""
        if seconds > 0 and not self.stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), seconds)
        if self.stopping.is_set():
            raise CallFailedError(Failure.NOT_REACHED)

    def _given_up(self, failure: Failure) -> Exception:
        self._in_a_row += failure in _AWAY
        away = failure is Failure.CONNECTION and not self._known
        if away or self._in_a_row >= N_IN_A_ROW:
            return ModelServerError(
                f"{self._endpoint.host} does not answer: {failure.value}.",
                "Check that the server runs and the address is right, and run the same command again to go on.",
            )
        return CallFailedError(failure)

    def _leaks(self, reply: Reply) -> bool:
        return self._endpoint.key is not None and self._endpoint.key.leaks(f"{reply.text} {reply.refusal}")


class _PassingError(Exception):
    """A call failed in a way that may pass."""

    def __init__(self, failure: Failure, wait_s: float = 0.0) -> None:
        self.failure, self.wait_s = failure, wait_s
        super().__init__(failure)


def _reply(text: str, most: Tokens, cap: Cap) -> Reply | None:
    """Read a chat completion; None where it is none. Without a count of tokens it counts with the most it can be."""
    try:
        data = json.loads(text)
        choice = data["choices"][0]
        message = choice["message"]
        content, refusal = message.get("content"), message.get("refusal")
        if isinstance(content, list):  # some servers send parts
            content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return None
    usage = data.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    counts = [usage.get("prompt_tokens"), usage.get("completion_tokens")]
    known = [n if isinstance(n, int) and n >= 0 else limit for n, limit in zip(counts, most, strict=True)]
    tokens = Tokens(*known)
    words = [value if isinstance(value, str) else "" for value in (content, refusal, choice.get("finish_reason"))]
    return Reply(words[0], words[1], words[2], tokens, usd(tokens, cap.price), now())


def _text(error: openai.APIStatusError) -> str:
    """Give what the server complains of, to be read by the program only: never shown, never kept."""
    return json.dumps(error.body, default=str).casefold()[:4000]


def _wait(headers: Mapping[str, str]) -> float:
    """Give the seconds that a server asks to wait; 0 where it asks nothing."""
    value = headers.get("retry-after", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return 0.0
