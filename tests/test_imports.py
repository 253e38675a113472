"""What importing the package brings along, and what a script that makes one call loads, makes and compiles."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import moonshot_async

ROOT = Path(__file__).parent.parent
HEAVY = ("aiohttp", "anyio", "rich", "tenacity", "yarl")


def python(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run Python from the root of the tree, without what the tests have loaded, and without measuring coverage."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, env=env, capture_output=True, text=True, check=True)


def imported_by(statement: str) -> set[str]:
    return set(python("-c", f"import sys\n{statement}\nprint(*sys.modules)").stdout.split())


def test_importing_the_package_imports_nothing_else() -> None:
    assert imported_by("import moonshot_async") - imported_by("") == {"moonshot_async"}


@pytest.mark.parametrize(
    "statement",
    [
        "from moonshot_async import AsyncMoonshot",
        "from moonshot_async import AsyncMoonshot, ChatCompletion, Retry, Stream, Timeout, collect",
        "from moonshot_async import AsyncMoonshot, MemoryTransport, Request, Response",
        "from moonshot_async.fake import FakeMoonshot",
        "import moonshot_async.transports",
    ],
)
def test_importing_a_name_imports_no_package_that_only_a_call_needs(statement: str) -> None:
    assert not imported_by(statement) & set(HEAVY)


def test_a_call_in_memory_loads_no_package_that_only_a_network_or_a_failure_needs() -> None:
    modules = imported_by(
        "import asyncio\n"
        "from moonshot_async import AsyncMoonshot, MemoryTransport\n"
        "from moonshot_async.fake import FakeMoonshot\n"
        "client = AsyncMoonshot(api_key='sk-x', transport=MemoryTransport(FakeMoonshot()))\n"
        "asyncio.run(client.models.list().__aiter__().__anext__())"
    )
    assert not modules & set(HEAVY)


# A server for one answer, and what asks it.
ONE_CALL = """
import asyncio

async def answer(reader, writer):
    await reader.readuntil(b'"messages":[]')
    head = b'HTTP/1.1 200 OK\\r\\nContent-Type: %s\\r\\nContent-Length: %d\\r\\n\\r\\n' % (kind, len(body))
    writer.write(head + body)

async def main():
    server = await asyncio.start_server(answer, '127.0.0.1', 0)
    url = f'http://127.0.0.1:{server.sockets[0].getsockname()[1]}'
    async with AsyncMoonshot(api_key='sk-x', base_url=url) as client:
        await call(client.chat.completions)
    server.close()
"""
UNARY = """
kind, body = b'application/json', b'{"choices":[]}'

async def call(chat):
    await chat.create(model='m', messages=[], response_format={'type': 'json_object'})
"""
STREAMED = """
kind = b'text/event-stream'
body = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\\n\\ndata: [DONE]\\n\\n'

async def call(chat):
    async for chunk in await chat.create(model='m', messages=[], stream=True):
        pass
"""
# What aiohttp makes when it is imported is not ours: `told` begins afterwards.
TELLING = """
import re, ssl, sys
import aiohttp, msgspec

told = []

def telling(function):
    def tell(*args, **kwargs):
        if function is context or sys._getframe(1).f_globals['__name__'].startswith('moonshot_async'):
            told.append(f'{function.__name__}:{args}')
        return function(*args, **kwargs)
    return tell

class Decoder:
    decoder = msgspec.json.Decoder

    def __new__(cls, kind):
        told.append(f'decoder:{kind.__name__}')
        return cls.decoder(kind)

    def __class_getitem__(cls, kind):
        return cls

context = ssl.create_default_context
ssl.create_default_context = telling(context)
for name in ('compile', 'findall', 'finditer', 'fullmatch', 'match', 'search', 'split', 'sub'):
    setattr(re, name, telling(getattr(re, name)))
msgspec.json.Decoder = Decoder
"""
OTHERS = (
    *("catalog", "chat_events", "chat_stream", "compat", "fake", "mfjs", "multipart", "partial_mode", "raw_responses"),
    *("middleware.breaker", "middleware.circuit", "middleware.limit", "structured", "toolkit", "transports.memory"),
    *("resources.batch", "resources.file", "resources.formulas", "resources.listing", "resources.models"),
    *("resources.raw", "resources.signatures", "resources.tokenizers", "resources.tools", "resources.upload"),
    *("resources.users", "types.batches", "types.files", "types.forgiving", "types.formulas", "types.models"),
    *("types.pages", "types.parsed", "types.partial_json", "types.tools", "types.users"),
)


@pytest.mark.parametrize("call", [UNARY, STREAMED], ids=["unary", "streamed"])
def test_a_chat_call_loads_nothing_that_only_other_calls_need(call: str) -> None:
    modules = imported_by(f"from moonshot_async import AsyncMoonshot\n{ONE_CALL}\n{call}\nasyncio.run(main())")
    others = tuple(f"moonshot_async.{name}" for name in OTHERS)
    assert not {name for name in modules if name.startswith(others)}
    assert "aiohttp" in modules
    assert not modules & {"anyio", "openai", "pydantic", "rich", "sqlite3", "tenacity", "uvloop"}


@pytest.mark.parametrize(
    ("call", "decodes"), [(UNARY, "ChatCompletion"), (STREAMED, "ChatCompletionChunk")], ids=["unary", "streamed"]
)
def test_a_chat_call_makes_the_one_decoder_that_it_uses_and_no_pattern_and_no_context_for_tls(
    call: str, decodes: str
) -> None:
    program = (
        f"{TELLING}\nfrom moonshot_async import AsyncMoonshot\n{ONE_CALL}\n{call}\nasyncio.run(main())\nprint(*told)"
    )
    assert python("-c", program).stdout.split() == [f"decoder:{decodes}"]


def test_an_answer_in_memory_is_decoded_without_what_only_failures_need() -> None:
    modules = imported_by(
        "import asyncio\n"
        "from moonshot_async import AsyncMoonshot, MemoryTransport, Response\n"
        "async def app(request): return Response(200, {}, '{\"choices\":[]}')\n"
        "chat = AsyncMoonshot(api_key='sk-x', transport=MemoryTransport(app)).chat.completions\n"
        "asyncio.run(chat.create(model='m', messages=[]))"
    )
    assert not modules & {*HEAVY, "email.utils", "moonshot_async.types.forgiving"}


def test_every_public_name_is_there() -> None:
    for name in moonshot_async.__all__:
        assert getattr(moonshot_async, name) is not None
    assert dir(moonshot_async) == sorted(moonshot_async.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Moonshot'"):
        moonshot_async.Moonshot  # noqa: B018  # asking for it is the test


def test_importing_everything_by_star_works() -> None:
    names = set(python("-c", "from moonshot_async import *\nprint(*dir())").stdout.split())
    assert set(moonshot_async.__all__) <= names


def test_the_names_that_type_checkers_see_are_those_that_programs_see() -> None:
    tree = ast.parse(Path(moonshot_async.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    assert ast.unparse(block.test) == "TYPE_CHECKING"
    seen = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        for alias in node.names:
            # `import x as x` is what makes a name public for type checkers (PEP 484).
            assert alias.asname == alias.name
            seen[alias.name] = node.module
    assert {*seen, "__version__"} == set(moonshot_async.__all__)
    homes = {name: f"moonshot_async.{home}" for home, names in moonshot_async._HOMES.items() for name in names}
    assert seen == homes


def test_the_public_names_are_sorted_and_stand_there_once() -> None:
    assert moonshot_async.__all__ == sorted(set(moonshot_async.__all__))
