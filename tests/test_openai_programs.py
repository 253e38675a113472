"""Programs for the openai package run here with nothing but their import lines changed, and print the same.

`openai_programs/` holds them: the calls that its README and its page on helpers show, as far as Kimi has them. Each is
run under openai and under `moonshot_async.compat.openai`, against a fake of its own whose clock stands still. The key
and the address come from the environment.
"""

import asyncio
import importlib.util
import json
import os
import re
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, urlsplit

import pytest
import pytest_asyncio

from moonshot_async.fake import FakeMoonshot
from moonshot_async.fake.server import FakeServer
from moonshot_async.wire import Request, Response

ROOT = Path(__file__).parent.parent
PROGRAMS = sorted(path.stem for path in (ROOT / "tests" / "openai_programs").glob("*.py"))

# The lines of a program that name the package, and what they become.
IMPORTS = (
    (r"^from openai\b", "from moonshot_async.compat.openai"),
    (r"^import openai$", "import moonshot_async.compat.openai as openai"),
)

# Runs each program as if it were started alone, but for the time that the imports take.
RUNNER = """
import json, os, sys, traceback
for name, (source, url) in json.load(sys.stdin).items():
    for service in ("OPENAI", "MOONSHOT"):
        os.environ[service + "_API_KEY"] = "sk-program"
        os.environ[service + "_BASE_URL"] = url
    print("##", name)
    try:
        exec(compile(source, name + ".py", "exec"), {"__name__": "__main__"})
    except BaseException:
        traceback.print_exc(file=sys.stdout)
"""

# What programs print, and what the services received, by program.
Runs: TypeAlias = Mapping[str, tuple[dict[str, str], dict[str, list[Request]]]]


def source(name: str, library: str) -> str:
    text = (ROOT / "tests" / "openai_programs" / f"{name}.py").read_text(encoding="utf-8")
    if library == "ours":
        for pattern, ours in IMPORTS:
            text = re.sub(pattern, ours, text, flags=re.MULTILINE)
    return text


def service(name: str) -> FakeMoonshot:
    """The fake for a program, with what is to befall it."""
    fake = FakeMoonshot(clock=lambda: 1794200000.0)
    match name:
        case "errors":
            fake.fail(429, retry_after=7)
            fake.fail(400, type="content_filter")
            for status in (403, 409, 422, 500):
                fake.fail(status)
            fake.disconnect()
            fake.error_in_stream(2)
            fake.cut_stream(2)
        case "retries":
            soon = {"retry-after-ms": "1"}
            fake.fail(429)
            fake.fail(429, headers=soon)
            fake.fail(503, headers=soon, times=2)
            fake.reply("at last")
            fake.fail(500, headers=soon)
            fake.reply("again")
            fake.fail(500, headers=soon, times=3)
    return fake


def app(name: str, fake: FakeMoonshot) -> Callable[[Request], Awaitable[Response]]:
    """The fake, with the id of a request under the name that openai reads, and slow where the program waits for it."""

    async def answer(request: Request) -> Response:
        if name == "timeouts" and len(fake.requests) == 3:
            fake.latency = 5.0
        response = await fake(request)
        response.headers = response.headers.merged({"x-request-id": response.headers["msh-request-id"]})
        return response

    return answer


async def run(library: str) -> tuple[dict[str, str], dict[str, list[Request]]]:
    fakes = {name: service(name) for name in PROGRAMS}
    async with AsyncExitStack() as stack:
        urls = {name: await stack.enter_async_context(FakeServer(app(name, fake))) for name, fake in fakes.items()}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", RUNNER),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "TMPDIR") if name in os.environ}
            | {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
        )
        programs = {name: (source(name, library), url) for name, url in urls.items()}
        out, complaints = await process.communicate(json.dumps(programs).encode())
    # openai complains of clients that nobody closed when their loop is gone.
    assert library == "openai" or not complaints, complaints.decode()
    printed: dict[str, str] = {}
    for section in ("\n" + out.decode()).split("\n## ")[1:]:
        name, _, text = section.partition("\n")
        printed[name] = text.replace(urls[name], "URL")
    return printed, {name: fake.requests for name, fake in fakes.items()}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def runs() -> Runs:
    """The runs of all programs, by library."""
    if importlib.util.find_spec("openai") is None:
        if os.environ.get("MOONSHOT_ASYNC_CI") == "1":
            pytest.fail("openai is not installed")
        pytest.skip("openai is not installed")
    theirs, ours = await asyncio.gather(run("openai"), run("ours"))
    return {"openai": theirs, "ours": ours}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_prints_the_same(name: str, runs: Runs) -> None:
    theirs, ours = runs["openai"][0][name], runs["ours"][0][name]

    assert "Traceback" not in theirs, theirs
    assert theirs
    assert ours.splitlines() == theirs.splitlines()


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_asks_the_same(name: str, runs: Runs) -> None:
    theirs, ours = ([_told(request) for request in runs[library][1][name]] for library in ("openai", "ours"))

    if name == "models":
        # A model that has no address of its own is looked for in the list.
        assert ours.pop()["what"] == ("GET", "/v1/models", [])
    assert theirs
    assert ours == theirs


def _told(request: Request) -> dict[str, Any]:
    """What was asked, without what a library is free to choose: order, its own headers, what says nothing."""
    own = {name.lower(): value for name, value in request.headers.multi_items() if name.lower().startswith("x-")}
    kind = request.headers.get("content-type", "").partition(";")[0] if request.body else ""
    body: Any = request.body
    if kind == "application/json":
        body = _body(json.loads(request.body))
    elif kind == "multipart/form-data":
        body = _form(request)
    return {
        "what": (request.method, request.path, sorted(parse_qsl(urlsplit(request.url).query))),
        "own": {name: value for name, value in own.items() if not name.startswith("x-stainless-")},
        "authorization": request.headers["authorization"],
        "body": body,
    }


def _body(body: dict[str, Any]) -> dict[str, Any]:
    for message in body.get("messages", ()):
        if message.get("tool_calls") and message.get("content") == "":
            # The API refuses empty content, so an answer that only calls tools goes back without it.
            del message["content"]
    if body.get("stream") is False:
        del body["stream"]
    for tool in body.get("tools", ()):
        # What the function does is said once.
        tool["function"]["parameters"].pop("description", None)
    for name in ("tools", "response_format"):
        if name in body:
            body[name] = _without_titles(body[name])
    return body


def _without_titles(schema: Any) -> Any:
    """A schema without the titles that pydantic gives everything: they cost tokens and say what the names say."""
    if isinstance(schema, list):
        return [_without_titles(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {name: value for name, value in schema.items() if name != "title" or not isinstance(value, str)}
    return {name: _without_titles(value) for name, value in kept.items()}


def _form(request: Request) -> dict[str, Any]:
    """The parts of a form: by name, the file name and the content."""
    boundary = request.headers["content-type"].partition("boundary=")[2].strip('"').encode()
    parts: dict[str, Any] = {}
    for part in request.body.split(b"--" + boundary)[1:-1]:
        head, _, content = part.strip(b"\r\n").partition(b"\r\n\r\n")
        name, file = (re.search(rb"\b" + key + rb'="([^"]*)"', head) for key in (b"(?<!file)name", b"filename"))
        assert name is not None
        parts[name[1].decode()] = (file and file[1].decode(), content)
    return parts
