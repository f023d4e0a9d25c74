"""An OpenAI-compatible server on loopback that behaves as told: a real socket, real HTTP, no model.

`python -m tests.llm_server --port 8760 --latency 0.05` runs it alone; GET /stats says what came.
"""

import argparse
import asyncio
import contextlib
import hashlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

Reader = Callable[[str, str], dict[str, Any]]
FAULTS = (
    "slow", "rate_limited", "error", "cut", "invalid_json", "prose", "thinking", "refusal", "truncated", "empty",
    "wrong_ids", "schema_ignored",
)  # fmt: skip
"""Behaviours that a good server or model shows now and then."""
WHOLE = {"ok", "slow", "prose", "thinking", "parts"}
"""Behaviours whose answer can be used."""
UNBILLED = {"rate_limited", "error", "unauthorised", "no_model", "bad_parameter", "no_quota", "moved", "down"}


@dataclass
class Call:
    """One request as it came."""

    body: dict[str, Any]
    headers: dict[str, str]
    nth: int
    """How often the same prompt came before."""
    behaviour: str = ""
    tokens: tuple[int, int] = (0, 0)
    sent: bool = False
    """The whole answer was written to the socket."""

    @property
    def system(self) -> str:
        return next((m["content"] for m in self.body["messages"] if m["role"] == "system"), "")

    @property
    def user(self) -> str:
        return next(m["content"] for m in self.body["messages"] if m["role"] == "user")


@dataclass
class LLMServer:
    """Answers in a thread of its own while the `with` lasts.

    Attributes:
        behave: A behaviour, or what chooses one for a call.
        reader: Gives the answer from the prompt alone.
        latency_s: Before each answer.
        key: The only key that it takes, if any.
        refuses: Parameters that it answers with 400: "strict", "json_schema", "json_object", "temperature",
            "max_tokens", "max_completion_tokens", "system".
        retry_after: What a 429 asks for.
        port: A free one by default.
    """

    behave: str | Callable[[Call], str] = "ok"
    reader: Reader = field(default_factory=lambda: honest)
    latency_s: float = 0.0
    slow_s: float = 0.3
    key: str | None = None
    refuses: frozenset[str] = frozenset()
    retry_after: str = "0.05"
    port: int = 0
    calls: list[Call] = field(default_factory=list)
    most_at_once: int = 0

    def __enter__(self) -> Self:
        self._seen: Counter[str] = Counter()
        self._now = 0
        self._loop = asyncio.new_event_loop()
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(10)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def answered(self) -> list[Call]:
        """Give the calls that took a model's work: what a provider bills."""
        return [call for call in self.calls if call.behaviour not in UNBILLED]

    def bill(self, price_in: float, price_out: float) -> float:
        """Give what a provider would bill, for prices of a million tokens; calls whose answer was cut included."""
        return sum(c.tokens[0] * price_in + c.tokens[1] * price_out for c in self.answered()) / 1e6

    def _run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve(started))
        self._loop.close()

    async def _serve(self, started: threading.Event) -> None:
        self._ended = asyncio.Event()
        server = await asyncio.start_server(self._connection, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await self._ended.wait()
        server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while line := await reader.readline():
                method, path, _ = line.decode("latin-1").split(" ", 2)
                headers: dict[str, str] = {}
                while (line := await reader.readline()) not in (b"\r\n", b""):
                    name, _, value = line.decode("latin-1").partition(":")
                    headers[name.strip().lower()] = value.strip()
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                if not await self._answer(method, path, headers, body, writer):
                    break
        writer.close()
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await writer.wait_closed()

    async def _answer(
        self, method: str, path: str, headers: dict[str, str], data: bytes, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer one request; False where the connection is to be closed."""
        if method == "GET" and path == "/stats":
            return await _write(writer, 200, self.stats())
        if path != "/v1/chat/completions":
            return await _write(writer, 404, _error("no such path"))
        body = json.loads(data)
        prompt = hashlib.sha256(json.dumps([body["model"], body["messages"]]).encode()).hexdigest()
        call = Call(body, headers, self._seen[prompt])
        refusal = self._refusal(call)
        if refusal is None:
            self._seen[prompt] += 1
        self.calls.append(call)
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            if refusal is not None:
                return await _write(writer, *refusal)
            call.behaviour = self.behave if isinstance(self.behave, str) else self.behave(call)
            await asyncio.sleep(self.latency_s + (self.slow_s if call.behaviour == "slow" else 0))
            return await self._behave(call, writer)
        finally:
            self._now -= 1

    def _refusal(self, call: Call) -> tuple[int, Any] | None:
        """Give status and body for a request that this server never takes."""
        given = call.headers.get("authorization", "").removeprefix("Bearer ")
        if self.key is not None and given != self.key:
            call.behaviour = "unauthorised"
            return 401, _error(f"Incorrect API key provided: {given}.", code="invalid_api_key")
        form = call.body.get("response_format", {})
        strict = form.get("json_schema", {}).get("strict", False)
        present = {
            "strict": strict, "json_schema": form.get("type") == "json_schema", "system": bool(call.system),
            "json_object": form.get("type") == "json_object",
            **{name: name in call.body for name in ("temperature", "max_tokens", "max_completion_tokens")},
        }  # fmt: skip
        for name in sorted(self.refuses):
            if present[name]:
                call.behaviour = "bad_parameter"
                return 400, _error(f"Unsupported parameter: '{name}' ({given}).", code="unsupported_parameter")
        return None

    async def _behave(self, call: Call, writer: asyncio.StreamWriter) -> bool:
        how = call.behaviour
        key = call.headers.get("authorization", "")
        errors: Mapping[str, tuple[int, str, dict[str, str]]] = {
            "rate_limited": (429, "Too many requests", {"Retry-After": self.retry_after}),
            "no_quota": (429, "insufficient_quota", {}),
            "error": (500, f"Internal error, {key}", {}),
            "no_model": (404, f"The model does not exist, {key}", {}),
            "unauthorised": (401, f"Incorrect API key provided: {key}", {}),
            "bad_parameter": (400, f"Unknown parameter, {key}", {}),
            "moved": (307, "elsewhere", {"Location": "http://127.0.0.1:9/v1/chat/completions"}),
        }
        if how in errors:
            status, text, more = errors[how]
            return await _write(writer, status, _error(text, code=text.split(",")[0]), more)
        if how == "down":
            return False
        message, finish = self._message(call)
        text = str(message.get("content") or message.get("refusal") or "")
        call.tokens = (len(json.dumps(call.body)) // 4, max(1, len(text) // 4))
        reply = {
            "id": "chatcmpl-1", "object": "chat.completion", "created": 0, "model": call.body["model"],
            "choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}],
            "usage": {"prompt_tokens": call.tokens[0], "completion_tokens": call.tokens[1]},
        }  # fmt: skip
        if how == "no_usage":
            del reply["usage"]
        if how == "cut":
            return await _write(writer, 200, reply, cut=True)
        if how == "html":
            return await _write(writer, 200, "<html>Welcome</html>")
        call.sent = await _write(writer, 200, reply)
        return call.sent

    def _message(self, call: Call) -> tuple[dict[str, Any], str]:
        answer = self.reader(call.system, call.user)
        text = json.dumps(answer, ensure_ascii=False)
        broken = {**answer, "evidence": ["A1", "Z99"]} if "evidence" in answer else {"fits": ["Z99"]}
        contents: dict[str, tuple[dict[str, Any], str]] = {
            "invalid_json": ({"content": text.replace('"', "", 3)[:-1]}, "stop"),
            "prose": ({"content": f"Sure! Here it is:\n```json\n{text}\n```\nHope {{this}} helps."}, "stop"),
            "thinking": ({"content": f'<think>Maybe {{"label": "no"}}?</think>\n{text}'}, "stop"),
            "parts": ({"content": [{"type": "text", "text": text}]}, "stop"),
            "refusal": ({"content": None, "refusal": "I cannot help with that."}, "stop"),
            "filtered": ({"content": ""}, "content_filter"),
            "truncated": ({"content": text[: len(text) // 2]}, "length"),
            "empty": ({"content": ""}, "stop"),
            "wrong_ids": ({"content": json.dumps(broken)}, "stop"),
            "schema_ignored": ({"content": json.dumps({"answer": answer.get("label", "")})}, "stop"),
            "long_label": ({"content": json.dumps({**answer, "label": "one two three four five six"})}, "stop"),
            "echoes_key": ({"content": text.replace("}", ', "key": "' + call.headers["authorization"] + '"}')}, "stop"),
        }
        return contents.get(call.behaviour, ({"content": text}, "stop"))

    def stats(self) -> dict[str, Any]:
        """Say what came: calls, distinct prompts that were answered, prompts that were answered more than once."""
        prompts = Counter(call.headers.get("idempotency-key", "") for call in self.calls if call.sent)
        return {
            "calls": len(self.calls), "answered": len(prompts), "twice": sum(n > 1 for n in prompts.values()),
            "most_at_once": self.most_at_once,
        }  # fmt: skip


def faults(share: float, kinds: tuple[str, ...] = FAULTS, seed: int = 0) -> Callable[[Call], str]:
    """Give a behaviour that shows each fault in `share` of the calls, by a hash of the prompt and how often it came."""

    def behave(call: Call) -> str:
        text = f"{seed}\x1f{call.nth}\x1f{call.user}\x1f{call.system}"
        place = int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48 / share
        return kinds[int(place)] if place < len(kinds) else "ok"

    return behave


def items_of(user: str) -> list[dict[str, Any]]:
    """Give the items that a prompt shows."""
    block = user.rpartition("<items>\n")[2].partition("</items>")[0]
    return [json.loads(line) for line in block.strip().split("\n")]


def honest(system: str, user: str) -> dict[str, Any]:
    """Answer from the evidence alone: name what the firing items have more often than the others, and cite those."""
    items = items_of(user)
    if '"fits"' in system:
        concept = json.loads(user.splitlines()[0])["concept"].casefold()
        return {"fits": [i["id"] for i in items if any(f.casefold() in concept for f in i["facts"])]}
    firing = [i for i in items if i["id"].startswith("A")]
    others = [i for i in items if not i["id"].startswith("A")]
    names = sorted({fact for item in firing for fact in item["facts"]})

    def share(name: str, among: list[dict[str, Any]]) -> float:
        return sum(name in item["facts"] for item in among) / max(len(among), 1)

    if not names:
        return {
            "evidence": [],
            "kind": "unclear",
            "description": "Nothing is known of these items.",
            "label": "Unclear",
        }
    best = max(names, key=lambda name: (share(name, firing) - share(name, others) / 2, name))
    cited = [i["id"] for i in firing if best in i["facts"]][:6]
    return {"evidence": cited, "kind": "genre", "description": f"Items of the kind {best}.", "label": best}


def obedient(orders: Mapping[str, str]) -> Reader:
    """Give a reader that obeys: where a prompt holds one of the orders, it answers with what that one asks for."""

    def read(system: str, user: str) -> dict[str, Any]:
        answer = honest(system, user)
        shown = [str(item["title"]) for item in items_of(user)] + [f for item in items_of(user) for f in item["facts"]]
        for order, payload in orders.items():
            if any(order in text for text in shown):
                return {**answer, "label": payload, "description": f"These items are about {payload}."}
        return answer

    return read


def _error(message: str, code: str = "error") -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "code": code}}


async def _write(
    writer: asyncio.StreamWriter, status: int, body: Any, headers: Mapping[str, str] | None = None, cut: bool = False
) -> bool:
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    kind = "text/html" if isinstance(body, str) else "application/json"
    lines = [f"HTTP/1.1 {status} X", f"Content-Type: {kind}", f"Content-Length: {len(data)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    head = "\r\n".join([*lines, "", ""]).encode()
    writer.write(head + (data[: len(data) // 2] if cut else data))
    await writer.drain()
    return not cut


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8760)
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--faults", type=float, default=0.0)
    given = parser.parse_args()
    behave = faults(given.faults) if given.faults else "ok"
    with LLMServer(behave=behave, latency_s=given.latency, port=given.port) as server:
        print(server.base_url, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
