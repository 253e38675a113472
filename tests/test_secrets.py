"""What nobody may see: keys, prompts and accounts, in logs, reprs, exceptions, their frames, pickles and warnings.

The whole run is watched for them (`tests/secrets_scan.py`). Here is shown that the watch finds what it looks for, and
calls of every kind fail in every way before its eyes.
"""

import asyncio
import copy
import json
import logging
import os
import pickle
import subprocess
import sys
import traceback
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from moonshot_async import (
    AiohttpTransport,
    APIConnectionError,
    APIError,
    AsyncMoonshot,
    ChatCompletionChunk,
    ConfigurationError,
    MemoryTransport,
    Retry,
)
from moonshot_async.compat.openai import AsyncOpenAI
from moonshot_async.errors import MoonshotError
from moonshot_async.resources.batch_lines import BatchRequest
from moonshot_async.wire import Request, Response
from tests.scripted import SSE_HEAD, Peer, Start, answer, chunk, events, silent
from tests.secrets_scan import CANARY_KEY, CANARY_PROMPT, SCAN, SecretsScan, mark_in

ROOT = Path(__file__).parent.parent
MESSAGES: list[Any] = [{"role": "user", "content": CANARY_PROMPT}]
ASK: dict[str, Any] = {"model": "kimi-k2.6", "messages": MESSAGES}
Call = Callable[[AsyncMoonshot], Awaitable[Any]]


def found_in(error: BaseException) -> list[str]:
    """What the watch finds in an error and its frames."""
    scan = SecretsScan()
    scan.look_at_error(error)
    return scan.take()


def planted(error: Exception, module: str = "moonshot_async.planted") -> Callable[[str], None]:
    """A function of the package that raises, with its argument in a local."""
    names: dict[str, Any] = {"__name__": module, "error": error}
    exec("def planted(argument):\n    raise error", names)
    function: Callable[[str], None] = names["planted"]
    return function


def with_attribute() -> MoonshotError:
    error = MoonshotError("words")
    error.body = {"you sent": [CANARY_PROMPT.encode()]}  # type: ignore[attr-defined]
    return error


def with_note() -> MoonshotError:
    error = MoonshotError("words")
    error.add_note(f"with {CANARY_KEY}")
    return error


def with_cause() -> MoonshotError:
    error = MoonshotError("words")
    error.__cause__ = MoonshotError(CANARY_KEY)
    return error


@pytest.mark.parametrize(
    "make", [lambda: MoonshotError(f"bad key {CANARY_KEY}"), with_attribute, with_note, with_cause], ids=range(4)
)
def test_the_watch_finds_what_an_error_tells_when_it_is_caught_and_when_it_dies(
    make: Callable[[], MoonshotError],
) -> None:
    with SCAN.apart() as caught, pytest.raises(MoonshotError):
        raise make()
    with SCAN.apart() as died:
        make()

    assert caught
    assert died


@pytest.mark.parametrize("error", [MoonshotError("words"), ValueError("words")])
def test_the_watch_finds_the_locals_of_our_frames_and_of_no_others(error: Exception) -> None:
    with SCAN.apart() as found, pytest.raises(type(error)):
        planted(error)(CANARY_PROMPT)
    with SCAN.apart() as elsewhere, pytest.raises(type(error)):
        planted(error.with_traceback(None), module="somebody")(CANARY_PROMPT)

    assert found[0].startswith(
        "'Canary prompt' in local 'argument' of moonshot_async.planted.planted:2, in the traceback"
    )
    assert not elsewhere


def test_the_watch_finds_what_is_logged_and_warned_of() -> None:
    with SCAN.apart() as logged:
        logging.getLogger("somebody.else").debug("the key is %s", CANARY_KEY)
    with SCAN.apart() as by_error:
        try:
            planted(ValueError("words"))(CANARY_KEY)
        except ValueError:
            logging.getLogger("asyncio").debug("failed", exc_info=True)
    with SCAN.apart() as warned, warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        warnings.warn(f"unclosed {CANARY_PROMPT}", stacklevel=1)

    assert "logger 'somebody.else'" in logged[0]
    assert "local 'argument'" in by_error[0]
    assert "a warning" in warned[0]


async def test_the_watch_finds_what_requests_responses_and_clients_show() -> None:
    class Leaky(AsyncMoonshot):
        def __repr__(self) -> str:
            return f"Leaky({self.api_key})"

    with SCAN.apart() as found:
        Response(200, {"x-echo": CANARY_KEY}, request=Request("GET", f"http://m.test/{CANARY_KEY}"))
        await Leaky(api_key=CANARY_KEY).aclose()

    told = "\n".join(found)
    for where in ("repr of client", "pickle of response 200", "repr of request GET", "pickle of request GET"):
        assert where in told


def test_of_many_alike_few_are_searched() -> None:
    with SCAN.apart():
        before = SCAN.searched.copy()
        for _ in range(1000):
            with pytest.raises(MoonshotError):
                planted(MoonshotError("words"))("x")

    # Errors of other tests may die meanwhile.
    assert 0 < SCAN.searched["frame"] - before["frame"] < 500


def test_what_cannot_be_shown_and_what_is_deep_ends_the_search() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise ValueError(CANARY_KEY)

    assert mark_in([Broken(), {"x": (CANARY_KEY,)}]) == "sk-canary"
    assert mark_in([[[[[[[CANARY_KEY]]]]]]]) is None
    assert mark_in(memoryview(CANARY_PROMPT.encode())) == "Canary prompt"


def test_a_run_with_a_leak_fails_and_names_the_test(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        "from tests import secrets_scan\n"
        "def pytest_configure(config):\n"
        "    config.pluginmanager.register(secrets_scan)\n"
    )
    (tmp_path / "test_planted.py").write_text(
        "from moonshot_async.errors import MoonshotError\n"
        "def test_good():\n"
        "    MoonshotError('fine')\n"
        "def test_leaky(caplog):\n"
        f"    MoonshotError('{CANARY_KEY}')\n"
        "    assert caplog.records == []\n"
        "def test_printing():\n"
        f"    print('{CANARY_PROMPT}')\n"
    )
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert run.returncode == 1, run.stdout + run.stderr
    assert "3 passed, 1 error" in run.stdout
    assert "ERROR at teardown of test_leaky" in run.stdout
    assert "'sk-canary' in the repr of error MoonshotError" in run.stdout
    assert "'Canary prompt' in what test_planted.py::test_printing printed" in run.stdout.replace("../", "")


# Calls of every kind, and what may happen to them.


async def stream_events(client: AsyncMoonshot) -> None:
    async with client.chat.completions.stream(**ASK) as stream:
        await stream.get_final_completion()


async def stream_chunks(client: AsyncMoonshot) -> None:
    async for _ in await client.chat.completions.create(**ASK, stream=True):
        pass


async def stream_post(client: AsyncMoonshot) -> None:
    async for _ in await client.post("/x", cast_to=ChatCompletionChunk, body=ASK, stream=True):
        pass


async def run_batch(client: AsyncMoonshot) -> None:
    async for result in client.batches.run([BatchRequest("a", ASK)]):
        assert result.error is None


SECRET_HEADERS: dict[str, Any] = {"extra_headers": {"X-Own-Key": CANARY_KEY}, "extra_query": {"q": CANARY_PROMPT}}

CALLS: dict[str, Call] = {
    "create": lambda client: client.chat.completions.create(**ASK, extra_body={"new": CANARY_PROMPT}),
    "chunks": stream_chunks,
    "events": stream_events,
    "parse": lambda client: client.chat.completions.parse(**ASK),
    "raw": lambda client: client.chat.completions.with_raw_response.create(**ASK),
    "count": lambda client: client.tokenizers.estimate_token_count(model="kimi-k3", messages=MESSAGES),
    "fiber": lambda client: client.formulas.fibers.create("moonshot/x:latest", name="x", arguments=CANARY_PROMPT),
    "search": lambda client: client.tools.search(text_query=CANARY_PROMPT, track_id="t"),
    "search pro": lambda client: client.tools.search_pro(text_query=CANARY_PROMPT),
    "fetch": lambda client: client.tools.fetch(url=f"https://x.test/?token={CANARY_KEY}"),
    "request": lambda client: client.request("POST", "/x", body=ASK, **SECRET_HEADERS),
    "get": lambda client: client.get("/x", cast_to=str, options={"headers": {"X-Own-Key": CANARY_KEY}}),
    "post": lambda client: client.post("/x", cast_to=str, body=ASK, options={"extra_json": {"more": CANARY_PROMPT}}),
    "put": lambda client: client.put("/x", cast_to=str, content=CANARY_PROMPT.encode()),
    "patch": lambda client: client.patch("/x", cast_to=str, body=CANARY_PROMPT),
    "delete": lambda client: client.delete("/x", cast_to=str, body=CANARY_PROMPT),
    "posted stream": stream_post,
    "list": lambda client: client.files.list(**SECRET_HEADERS),
    "retrieve": lambda client: client.files.retrieve("f", **SECRET_HEADERS),
}
UPLOADS: dict[str, Call] = {
    "form": lambda client: client.post("/x", cast_to=str, files={"file": CANARY_PROMPT.encode()}),
    "upload": lambda client: client.files.create(file=CANARY_PROMPT.encode(), purpose="x", **SECRET_HEADERS),
    "extract": lambda client: client.files.extract(CANARY_PROMPT.encode(), **SECRET_HEADERS),
    "batch": run_batch,
}


def echo(status: bytes) -> Callable[[Peer], Awaitable[None]]:
    """Refuse, and repeat all that came: head and body."""

    async def play(peer: Peer) -> None:
        while True:
            head = await peer.head()
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
            body = await peer.more(length)
            said = json.dumps({"error": {"type": "x", "message": f"no: {head.decode()} {body.decode()}"}})
            await peer.send(answer(said.encode(), status=status, headers=b"Set-Cookie: a=%s\r\n" % CANARY_KEY.encode()))

    return play


async def reset(peer: Peer) -> None:
    await peer.request()
    peer.reset()


async def cut(peer: Peer) -> None:
    said = await asked(peer)
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + said.encode())


async def error_event(peer: Peer) -> None:
    said = await asked(peer)
    error = {"error": {"message": f"bad: {said} of {CANARY_KEY}", "code": CANARY_KEY, "param": said}}
    await peer.send(SSE_HEAD + chunk(events(json.dumps(error).encode())))


async def page(peer: Peer) -> None:
    text = f"<html><title>{CANARY_KEY}</title>{await asked(peer)}</html>"
    await peer.send(answer(text.encode(), headers=b"Content-Type: text/html\r\n"))


async def asked(peer: Peer) -> str:
    """What was asked, if anything was."""
    body = await peer.request()
    return CANARY_PROMPT if CANARY_PROMPT.encode() in body else "nothing"


async def refuse(peer: Peer) -> None:
    await peer.request()
    await peer.send(answer(b"{}", status=b"400 Bad Request"))


FAULTS = {
    "400": echo(b"400 Bad Request"),
    "429": echo(b"429 Too Many Requests"),
    "200": echo(b"200 OK"),
    "reset": reset,
    "cut": cut,
    "event": error_event,
    "page": page,
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_a_call_that_fails_shows_nothing_of_what_was_sent(
    scripted: Start, client_of: Any, call: Call, fault: Callable[[Peer], Awaitable[None]]
) -> None:
    client = client_of(await scripted(fault), max_retries=0)
    raised: MoonshotError | None = None

    try:
        await call(client)
    except MoonshotError as error:
        raised = error

    # What a caller takes as it comes is an answer like any other.
    assert raised is not None or fault in (page, error_event, FAULTS["200"])
    if raised is not None:
        assert found_in(raised) == []
        assert found_in(pickle.loads(pickle.dumps(raised))) == []


@pytest.mark.parametrize("fault", [reset, refuse])
@pytest.mark.parametrize("call", UPLOADS.values(), ids=UPLOADS)
async def test_an_upload_that_fails_shows_nothing_of_the_file(
    scripted: Start, client_of: Any, call: Call, fault: Callable[[Peer], Awaitable[None]]
) -> None:
    client = client_of(await scripted(fault), max_retries=0)

    with pytest.raises(APIError) as caught:
        await call(client)

    assert found_in(caught.value) == []


@pytest.mark.parametrize(
    "call", [*(CALLS[name] for name in ("create", "chunks", "events", "count", "post")), *UPLOADS.values()]
)
async def test_a_timeout_of_the_callers_own_shows_nothing_of_what_was_sent(
    scripted: Start, client_of: Any, call: Call
) -> None:
    client = client_of(await scripted(silent))

    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(0.05):
            await call(client)

    assert found_in(caught.value) == []
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    ours = [line for line in shown.split("  File ") if "moonshot_async" in line or "aiohttp" in line]
    assert ours
    assert mark_in(ours) is None


@pytest.mark.parametrize("ending", ["deadline", "closed", "drained"])
@pytest.mark.parametrize("call", [CALLS[name] for name in ("create", "chunks", "events", "search", "patch", "list")])
async def test_a_call_that_is_not_sent_any_more_shows_nothing(client_of: Any, call: Call, ending: str) -> None:
    client = client_of("http://127.0.0.1:9/v1", timeout=1e-9 if ending == "deadline" else None)
    if ending == "closed":
        await client.aclose()
    elif ending == "drained":
        await client.drain(0)

    with pytest.raises(APIConnectionError) as caught:
        await call(client)

    assert found_in(caught.value) == []


REFUSED: dict[str, Call] = {
    "a keyword": lambda client: client.chat.completions.create(**ASK, mesages=MESSAGES),
    "a missing one": lambda client: client.chat.completions.create(messages=MESSAGES),  # type: ignore[call-overload]
    "stream": lambda client: client.chat.completions.parse(**ASK, stream=True),
    "no messages": lambda client: client.chat.completions.create(model="x", messages=CANARY_PROMPT),  # type: ignore[call-overload]
    "bytes": lambda client: client.chat.completions.create(**ASK, user=CANARY_PROMPT.encode()),
    "bytes inside": lambda client: client.chat.completions.create(
        model="x", messages=[{"role": "user", "content": CANARY_PROMPT.encode()}]
    ),
    "a surrogate": lambda client: client.chat.completions.create(
        model="x", messages=[{"role": "user", "content": f"{CANARY_PROMPT}\ud800"}]
    ),
    "an object": lambda client: client.chat.completions.create(**ASK, extra_body={"x": [object(), CANARY_PROMPT]}),
    "a type": lambda client: client.chat.completions.parse(**ASK, response_format=int),
    "a lax tool": lambda client: client.chat.completions.parse(
        **ASK, tools=[{"type": "function", "function": {"name": "x", "description": CANARY_PROMPT}}]
    ),
    "a timeout": lambda client: client.chat.completions.create(**ASK, timeout=-1),
    "a header": lambda client: client.chat.completions.create(**ASK, extra_headers={"X-A": f"{CANARY_KEY}\r\n"}),
    "the name of a header": lambda client: client.chat.completions.create(
        **ASK, extra_headers={f"Authorization: Bearer {CANARY_KEY}": ""}
    ),
    "a keyword of stream": lambda client: client.chat.completions.stream(**ASK, resume=-1).__aenter__(),
    "messages to count": lambda client: client.tokenizers.estimate_token_count(
        model="x",
        messages=CANARY_PROMPT,  # type: ignore[arg-type]
    ),
    "arguments": lambda client: client.formulas.fibers.create(
        "moonshot/x:latest", name="x", arguments={"x": [CANARY_PROMPT, object()]}
    ),
    "a body": lambda client: client.post("/x", cast_to=str, body=[CANARY_PROMPT, object()]),
    "two bodies": lambda client: client.post("/x", cast_to=str, body=CANARY_PROMPT, content=CANARY_PROMPT.encode()),
    "a path": lambda client: client.request("POST", "http://elsewhere.test/", body=ASK),
    "a file": lambda client: client.files.create(file=CANARY_PROMPT, purpose="x"),  # type: ignore[arg-type]
    "a batch": lambda client: client.batches.run([("a", {**ASK, "temperature": 1})]).submit(),
    "a batch twice": lambda client: client.batches.run([("a", ASK), ("a", ASK)]).submit(),
}


@pytest.mark.parametrize("call", REFUSED.values(), ids=REFUSED)
async def test_arguments_that_are_refused_are_not_shown(call: Call) -> None:
    async with AsyncMoonshot(api_key=CANARY_KEY, transport=MemoryTransport(_never)) as client:
        with pytest.raises((TypeError, ValueError)) as caught:
            await call(client)

    assert found_in(caught.value) == []
    assert mark_in(str(caught.value)) is None


async def _never(request: Request) -> Response:
    raise AssertionError("nothing was to be sent")


class Own:
    """A message of a caller's own class, whose dump fails."""

    def model_dump(self, **_: Any) -> Any:
        secret = CANARY_PROMPT
        raise LookupError(f"no {len(secret)}")


async def test_frames_of_the_callers_own_functions_keep_their_locals(client_of: Any) -> None:
    client = client_of("http://127.0.0.1:9/v1")

    with pytest.raises(LookupError) as caught:
        await client.chat.completions.create(model="x", messages=[Own()])

    frames = {frame.name: frame for frame in traceback.extract_tb(caught.value.__traceback__)}
    assert "model_dump" in frames
    found = [trace.frame for trace in caught.traceback if trace.frame.code.name == "model_dump"]
    assert found[0].f_locals["secret"] == CANARY_PROMPT


BAD_KEYS = [f"{CANARY_KEY}\r\nX-Evil: 1", f"{CANARY_KEY}\0", f"{CANARY_KEY} x", f"{CANARY_KEY}é", CANARY_KEY.encode()]


@pytest.mark.parametrize("cls", [AsyncMoonshot, AsyncOpenAI])
@pytest.mark.parametrize("key", BAD_KEYS, ids=range(len(BAD_KEYS)))
def test_a_key_that_is_refused_is_not_shown(key: Any, cls: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    good = cls(api_key="x")

    for make in (
        lambda: cls(api_key=key),
        lambda: good.with_options(api_key=key),
        lambda: setattr(good, "api_key", key),
    ):
        with pytest.raises(ConfigurationError) as caught:
            make()
        assert found_in(caught.value) == []
    if isinstance(key, str) and "\0" not in key:
        monkeypatch.setenv("MOONSHOT_API_KEY", key)
        with pytest.raises(ConfigurationError, match="MOONSHOT_API_KEY") as caught:
            cls()
        assert found_in(caught.value) == []


@pytest.mark.parametrize(
    "options",
    [
        {"max_retries": -1},
        {"timeout": -1},
        {"base_url": f"http://me:{CANARY_KEY}@m.test"},
        {"base_url": f"http://m.test/?api_key={CANARY_KEY}"},
        {"default_headers": {"X-A": f"{CANARY_KEY}\n"}},
        {"http_client": object()},
    ],
)
def test_what_else_is_refused_shows_no_key(options: dict[str, Any]) -> None:
    good = AsyncMoonshot(api_key=CANARY_KEY, default_headers={"X-Own": CANARY_KEY})
    given: dict[str, Any] = {"api_key": CANARY_KEY, "default_query": {"key": CANARY_KEY}, **options}

    for make in (AsyncMoonshot, AsyncOpenAI, good.with_options):
        with pytest.raises((ConfigurationError, TypeError)) as caught:
            make(**given)
        assert found_in(caught.value) == []


@pytest.mark.parametrize("key", [CANARY_KEY.encode(), f"{CANARY_KEY}\n1"])
@pytest.mark.parametrize("how", ["async", "plain", "future"])
async def test_a_function_for_the_key_shows_none(scripted: Start, client_of: Any, key: Any, how: str) -> None:
    async def brings() -> Any:
        return key

    def future() -> Any:
        coming = asyncio.get_running_loop().create_future()
        coming.set_result(CANARY_KEY)
        return coming

    function: Any = {"async": brings, "plain": lambda: CANARY_KEY, "future": future}[how]
    server = await scripted(reset)
    client = client_of(server).with_options(api_key=function, max_retries=0)

    with pytest.raises(MoonshotError) as caught:
        await client.chat.completions.create(**ASK)

    assert found_in(caught.value) == []


# Clients, URLs, proxies, accounts.


@pytest.mark.parametrize("cls", [AsyncMoonshot, AsyncOpenAI])
def test_a_client_shows_no_key_and_is_neither_pickled_nor_copied(cls: Any) -> None:
    client = cls(api_key=CANARY_KEY, default_headers={"X-Api-Key": CANARY_KEY}, default_query={"token": CANARY_KEY})

    for thing in (client, client._pipeline, client._options, client.chat, client.default_headers, vars(client)):
        assert mark_in(thing) is None
        assert mark_in(f"{thing} {thing!r}") is None
    for leave in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="holds a key and open connections"):
            leave(client)
    with pytest.raises(TypeError, match="hold a key"):
        pickle.dumps(client._options)


@pytest.mark.parametrize("status", [400, 302])
async def test_a_key_in_the_query_is_hidden_in_what_tells_of_the_url(status: int) -> None:
    async def app(request: Request) -> Response:
        assert f"api_key={CANARY_KEY}" in request.url
        said = f"{CANARY_KEY} was refused".encode()
        return Response(status, {"location": f"http://you:{CANARY_KEY}@m.test/x?token={CANARY_KEY}&a=1"}, said)

    client = AsyncMoonshot(api_key="x", transport=MemoryTransport(app), default_query={"api_key": CANARY_KEY, "a": 1})
    with pytest.raises(APIError) as caught:
        await client.models.list()

    assert found_in(caught.value) == []
    assert caught.value.request is not None
    assert caught.value.request.url.endswith("/models?api_key=***&a=1")
    assert caught.value.headers["location"] == "http://***@m.test/x?token=***&a=1"  # type: ignore[attr-defined]
    if status == 302:
        assert "it points to 'http://m.test/x'" in str(caught.value)


async def test_a_raw_response_hides_a_key_in_the_query() -> None:
    async def app(request: Request) -> Response:
        return Response(200, {"set-cookie": CANARY_KEY}, b'{"data":[]}')

    client = AsyncMoonshot(api_key=CANARY_KEY, transport=MemoryTransport(app), default_query={"sig": CANARY_KEY})
    raw = await client.models.with_raw_response.list()

    assert mark_in([raw, raw.http_request, raw.http_response, raw.headers]) is None
    assert repr(raw).endswith("/models?sig=***>")
    assert raw.http_request.url.endswith(f"?sig={CANARY_KEY}")
    assert mark_in(pickle.dumps([raw.http_request, raw.http_response])) is None


@pytest.mark.parametrize(
    "proxy", ["http://me:{}@127.0.0.1:1", "http://me:{}@nowhere.invalid:1", "ftp://me:{}@x", "http://{}@:1"]
)
async def test_the_password_of_a_proxy_is_not_shown(proxy: str) -> None:
    with pytest.raises(MoonshotError) as caught:
        transport = AiohttpTransport(
            proxy=proxy.format(CANARY_KEY), proxy_headers={"Proxy-Authorization": f"Basic {CANARY_KEY}"}
        )
        assert mark_in(transport) is None
        async with AsyncMoonshot(api_key=CANARY_KEY, transport=transport, max_retries=0, timeout=5) as client:
            await client.chat.completions.create(**ASK)

    assert mark_in([str(caught.value), vars(caught.value), pickle.dumps(caught.value)]) is None


async def test_the_account_is_hidden_wherever_it_is_told(scripted: Start, client_of: Any) -> None:
    account = b"Msh-Org-Id: org-0123456789abcdef\r\nMsh-Uid: u0123456789\r\nMsh-Project-Id: proj-9876543210\r\n"
    text = "Your account org-0123456789abcdef <ak-f4xqetugg7kk1> request reached organization max RPM: 3, u0123456789"

    async def play(peer: Peer) -> None:
        await peer.request()
        error = json.dumps({"error": {"type": "rate_limit_reached_error", "message": text, "code": "proj-9876543210"}})
        await peer.send(answer(error.encode(), status=b"429 Too Many Requests", headers=account))

    with pytest.raises(APIError) as caught:
        await client_of(await scripted(play), max_retries=0).chat.completions.create(**ASK)

    error: Any = caught.value
    assert "Your account *** <***> request reached organization max RPM: 3" in str(error)
    shown = [str(error), repr(error), repr(vars(error)), error.response.text, repr(dict(error.headers))]
    shown += [pickle.dumps(error).decode("latin-1"), repr(dict(error.response.headers))]
    for secret in ("org-0123", "ak-f4xq", "u0123456789", "proj-98"):
        assert secret not in "".join(shown)
    assert error.headers["msh-org-id"] == "***"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("key sk-abcdefghijklmnopqrstuvwxyz is bad", "key *** is bad"),
        ("sent Bearer abcdefghijklmnopqrstuv.wx", "sent Bearer ***"),
        ("organization org-1a2b3c4d5e6f7 of ak-0a1b2c3d4e5f", "organization *** of ***"),
        ("model sk-short and org-chart", "model sk-short and org-chart"),
    ],
)
async def test_what_looks_like_a_key_is_hidden_whosever_it_is(said: str, shown: str) -> None:
    async def app(request: Request) -> Response:
        return Response(400, {}, json.dumps({"error": {"message": said}}).encode())

    with pytest.raises(APIError) as caught:
        await AsyncMoonshot(api_key="x", transport=MemoryTransport(app)).models.list()

    assert str(caught.value) == f"Error code: 400 - {shown}"


# Logs.


def test_the_event_loop_in_debug_mode_logs_nothing_secret(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    caplog.set_level(logging.DEBUG)
    file = tmp_path / "prompt.txt"
    file.write_text(CANARY_PROMPT * 1000)

    async def main() -> None:
        from tests.scripted import ScriptedServer

        asyncio.get_running_loop().slow_callback_duration = 0.0
        async with ScriptedServer(FAULTS["200"]) as server, ScriptedServer(error_event) as other:
            for url in (server.url, other.url):
                async with AsyncMoonshot(api_key=CANARY_KEY, base_url=url, middleware=[Retry(0)]) as client:
                    for call in (CALLS["create"], CALLS["chunks"], CALLS["events"]):
                        with pytest.raises(APIError):
                            await asyncio.create_task(_awaited(call(client)))
        async with (
            ScriptedServer(refuse) as server,
            AsyncMoonshot(api_key=CANARY_KEY, base_url=server.url, max_retries=0) as client,
        ):
            with pytest.raises(APIError):
                await client.files.create(file=file, purpose="file-extract")

    asyncio.run(main(), debug=True)

    assert sum("took" in record.getMessage() for record in caplog.records) > 50
    assert {"asyncio", "moonshot_async"} <= {record.name for record in caplog.records}
    assert mark_in(caplog.text) is None
    assert all(mark_in(vars(record)) is None for record in caplog.records)


async def _awaited(coming: Awaitable[Any]) -> Any:
    return await coming


def test_what_rich_shows_is_hidden_too() -> None:
    request = Request("POST", "http://m.test", body=CANARY_PROMPT.encode())

    assert mark_in(SimpleNamespace(it=request)) is None
    assert list(request.__rich_repr__()) == []
    assert repr(BatchRequest("a", ASK)) == "BatchRequest('a', ...)"
