"""What every test may use: a scripted server, a guard against leaks, and the shim that aioresponses needs."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from moonshot_async import AsyncMoonshot
from tests import secrets_scan
from tests.scripted import Play, ScriptedServer, Start
from tests.stalls import Stalls

# Machines that run tests are noisy: how long an example takes says nothing there.
settings.register_profile("moonshot", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("moonshot")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(secrets_scan)


# On a user's machine a test may be skipped for what the machine lacks; where this is set, nothing may.
SKIPS_NOTHING = os.environ.get("MOONSHOT_ASYNC_CI") == "1"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if SKIPS_NOTHING and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if SKIPS_NOTHING and report.skipped:
        report.outcome = "failed"
    return report


def open_sockets() -> int:
    """How many sockets this process holds."""
    count = 0
    for entry in Path("/dev/fd").iterdir():
        try:
            count += stat.S_ISSOCK(os.fstat(int(entry.name)).st_mode)
        except OSError:
            pass  # The one that lists the directory.
    return count


@pytest.fixture
async def scripted() -> AsyncIterator[Start]:
    """Start a server that plays a script on each connection: `server = await scripted(play)`."""
    async with AsyncExitStack() as stack:

        async def start(play: Play) -> ScriptedServer:
            return await stack.enter_async_context(ScriptedServer(play))

        yield start


@pytest.fixture
async def client_of() -> AsyncIterator[Callable[..., AsyncMoonshot]]:
    """Make a client for a scripted server, or a URL; closed at the end."""
    async with AsyncExitStack() as stack:

        def client_of(server: ScriptedServer | str, **options: Any) -> AsyncMoonshot:
            url = server if isinstance(server, str) else server.url
            client = AsyncMoonshot(api_key=secrets_scan.CANARY_KEY, base_url=url, **options)
            stack.push_async_callback(client.aclose)
            return client

        yield client_of


@pytest.fixture
async def no_leaks() -> AsyncIterator[None]:
    """Fail if the test leaves a task, a socket or an error of the loop behind."""
    loop = asyncio.get_running_loop()
    complaints: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda loop, context: complaints.append(context))
    tasks, sockets = asyncio.all_tasks(), open_sockets()
    yield

    def left() -> tuple[set[asyncio.Task[Any]], int]:
        return asyncio.all_tasks() - tasks - {asyncio.current_task()}, open_sockets() - sockets

    for _ in range(100):
        if left() == (set(), 0):
            break
        await asyncio.sleep(0.01)
    assert left() == (set(), 0), "tasks or sockets left behind"
    assert not complaints, "the event loop complained"


@pytest.fixture
async def stalls() -> AsyncIterator[Stalls]:
    """How late something is on a machine that is busy with other things: `stalls.late(due)`."""
    stalls = Stalls()
    yield stalls
    stalls.close()


@pytest.fixture
def mocked_http() -> Iterator[Any]:
    """aioresponses, mended: 0.7.9 does not know that aiohttp 3.14 builds responses with a `stream_writer`.

    See: https://github.com/pnuckowski/aioresponses/issues/289
    """
    from aiohttp import ClientResponse
    from aioresponses import aioresponses

    class Writer:
        output_size = 0

    class Mended(ClientResponse):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{"stream_writer": Writer(), **kwargs})

    class Mocked(aioresponses):  # type: ignore[misc]  # it has no types
        def add(self, *args: Any, **kwargs: Any) -> None:
            kwargs.setdefault("response_class", Mended)
            super().add(*args, **kwargs)

    with Mocked() as mocked:
        yield mocked
