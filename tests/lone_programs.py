"""Programs that fork, exit and leave things open: `MOONSHOT_BASE_URL=… python -m tests.lone_programs NAME …`."""

import asyncio
import gc
import multiprocessing
import os
import ssl
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from moonshot_async import AiohttpTransport, AsyncMoonshot, Stream
from moonshot_async.errors import ConfigurationError
from moonshot_async.types.chat import ChatCompletionChunk

Chunks = Stream[ChatCompletionChunk]

# Python 3.12 and newer warn of forks beside threads, of which a resolver or a test's server may have some.
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)

_TLS = ssl.create_default_context(cafile=os.environ["CERTIFICATE"]) if "CERTIFICATE" in os.environ else None
# As programs have it that fork their workers: made once, used by all of them.
CLIENT = AsyncMoonshot(api_key="sk-canary-01", transport=AiohttpTransport(ssl_context=_TLS), max_retries=0, timeout=10)
KEPT: list[Any] = []


def new_loop() -> asyncio.AbstractEventLoop:
    if os.environ.get("LOOP") == "uvloop":
        import uvloop

        return uvloop.new_event_loop()
    return asyncio.new_event_loop()


def run(main: Any) -> Any:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(main)


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def question(words: str) -> dict[str, Any]:
    return {"model": "kimi-k2.6", "messages": [{"role": "user", "content": words}]}


async def ask(words: str = "Hi") -> str:
    return (await CLIENT.chat.completions.create(**question(words))).choices[0].message.content or ""


async def begin() -> Chunks:
    """A stream of which one chunk was read."""
    stream = await CLIENT.chat.completions.create(**question("Hi"), stream=True)
    await anext(stream)
    return stream


# --- forks


def forked(child: Callable[[], object]) -> int:
    if pid := os.fork():
        return pid
    child()
    sys.exit(0)


def ended_well(pid: int) -> bool:
    return os.waitpid(pid, 0)[1] == 0


def exits(stream: Chunks) -> None:
    """Unwind the event loop of the parent, whose calls it cancels."""


def leaves(stream: Chunks) -> NoReturn:
    """End as the children of `multiprocessing` do."""
    os._exit(0)


def asks(stream: Chunks) -> None:
    async def use() -> None:
        say("child:", await asyncio.gather(*(ask() for _ in range(3))))
        try:
            await anext(stream)
        except ConfigurationError as error:
            say("child:", error)
        await CLIENT.aclose()

    asyncio.run(use())
    # What uvloop does at the end of a child is its own affair.
    if os.environ.get("LOOP") == "uvloop":
        os._exit(0)


def drops(stream: Chunks) -> None:
    asyncio.run(stream.aclose())
    asyncio.run(CLIENT.aclose())
    CLIENT.__dict__.clear()
    KEPT.clear()
    gc.collect()


def fork_amid_calls(child: str) -> None:
    """Fork while connections are idle, streamed over, waited on and being made."""

    async def parent() -> None:
        KEPT.extend([await begin(), await begin()])
        waiting = asyncio.create_task(ask("wait"))
        assert await ask() == "x"
        connecting = asyncio.create_task(ask("wait"))
        for _ in range(4):
            await asyncio.sleep(0)
        assert ended_well(forked(lambda: globals()[child](KEPT[0])))
        assert await ask("go on") == "x"
        assert await asyncio.gather(waiting, connecting) == ["x", "x"]
        for stream in KEPT:
            assert len([chunk async for chunk in stream]) == 1
        await CLIENT.aclose()

    run(parent())
    say("parent: whole")


def prefork() -> None:
    """Fork workers from a parent that has used the client, and goes on using it."""
    loop = new_loop()
    loop.run_until_complete(ask())
    workers = [forked(lambda: asyncio.run(ask("from a worker"))) for _ in range(2)]
    loop.run_until_complete(ask())
    assert all(ended_well(pid) for pid in workers)
    loop.run_until_complete(ask())
    loop.run_until_complete(CLIENT.aclose())
    loop.close()


def close_beside_a_child() -> None:
    """Close a stream, then the client, while a child lives that was forked before."""

    async def parent() -> None:
        stream = await begin()
        await ask()
        reading, writing = os.pipe()
        pid = forked(lambda: (os.close(writing), os.read(reading, 1), os._exit(0)))
        await stream.aclose()
        await CLIENT.aclose()
        say("closed")
        await asyncio.to_thread(sys.stdin.readline)
        os.close(writing)
        assert ended_well(pid)

    run(parent())


def work(number: int) -> None:
    assert asyncio.run(ask("from a worker")) == "x"


def processes() -> None:
    """Use the client in children of every kind that `multiprocessing` has."""

    async def parent(method: str) -> None:
        stream = await begin()
        process = multiprocessing.get_context(method).Process(target=work, args=(1,))  # type: ignore[attr-defined]
        process.start()
        await asyncio.to_thread(process.join)
        assert process.exitcode == 0
        await ask("go on")
        assert len([chunk async for chunk in stream]) == 1

    for method in multiprocessing.get_all_start_methods():
        asyncio.run(parent(method))


# --- ends


def forgets_the_client() -> None:
    run(ask())


def forgets_a_stream() -> None:
    KEPT.append(run(begin()))


def forgets_the_loop() -> None:
    KEPT.append(new_loop())
    KEPT.append(KEPT[0].run_until_complete(begin()))


def closes_the_loop_alone() -> None:
    loop = new_loop()
    loop.run_until_complete(ask())
    KEPT.append(loop.run_until_complete(begin()))
    loop.close()


def forgets_a_thread() -> None:
    begun = threading.Event()

    async def read() -> None:
        stream = await begin()
        begun.set()
        async for _ in stream:
            pass

    threading.Thread(target=lambda: run(read()), daemon=True).start()
    assert begun.wait(10)


def leaves_in_the_middle() -> None:
    async def main() -> None:
        KEPT.append(asyncio.create_task(ask("wait")))
        async for _ in await CLIENT.chat.completions.create(**question("Hi"), stream=True):
            sys.exit(0)

    run(main())


# --- memory


def calls_on_and_on() -> None:
    """Tell by how many bytes the process grows in two thousand calls, after some of the same kind."""

    async def calls(rounds: int) -> None:
        for _ in range(rounds):
            await asyncio.gather(*(ask() for _ in range(10)))
            for stream in await asyncio.gather(*(begin() for _ in range(10))):
                async for _ in stream:
                    pass

    def held() -> int:
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    async def main() -> None:
        await calls(20)
        before = held()
        await calls(100)
        say(held() - before)
        await CLIENT.aclose()

    run(main())


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
