"""What importing the package costs and brings along."""

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


def test_importing_the_package_imports_nothing_but_the_standard_library() -> None:
    modules = imported_by("import moonshot_async")
    assert not modules & {*HEAVY, "asyncio", "msgspec"}
    assert {name for name in modules if name.startswith("moonshot_async.")} == set()


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


def test_a_call_in_memory_needs_no_aiohttp() -> None:
    modules = imported_by(
        "import asyncio\n"
        "from moonshot_async import AsyncMoonshot, MemoryTransport, Timeout\n"
        "from moonshot_async.fake import FakeMoonshot\n"
        "client = AsyncMoonshot(api_key='sk-x', timeout=None, transport=MemoryTransport(FakeMoonshot()))\n"
        "asyncio.run(client.models.list().__aiter__().__anext__())"
    )
    assert not modules & {"aiohttp", "rich", "tenacity"}


def test_a_chat_call_loads_nothing_that_only_other_calls_need() -> None:
    modules = imported_by(
        "import asyncio\n"
        "from moonshot_async import AsyncMoonshot, MemoryTransport, Response\n"
        "async def app(request): return Response(200, {}, '{\"choices\":[]}')\n"
        "chat = AsyncMoonshot(api_key='sk-x', transport=MemoryTransport(app)).chat.completions\n"
        "asyncio.run(chat.create(model='m', messages=[], response_format={'type': 'json_object'}))"
    )
    others = ("catalog", "chat_events", "chat_stream", "mfjs", "raw_responses", "structured", "types.parsed")
    assert not modules & {f"moonshot_async.{name}" for name in others}


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


def test_importing_the_package_costs_next_to_nothing_beside_asyncio_and_msgspec() -> None:
    # The least of several runs, in turns: everything that disturbs a measurement makes it longer.
    runs = [(cost("import asyncio, msgspec, moonshot_async"), cost("import asyncio, msgspec")) for _ in range(7)]
    assert min(ours for ours, _ in runs) <= 1.3 * min(needed for _, needed in runs)


def cost(statement: str) -> int:
    """Microseconds that the statement spends in imports, as `-X importtime` counts them."""
    return _cost(python("-X", "importtime", "-c", statement).stderr)


def _cost(report: str) -> int:
    total = 0
    for line in report.splitlines():
        own, _, name = line.removeprefix("import time:").split("|")
        if own.strip().isdigit() and name.strip() != "site":
            total += int(own)
    return total
