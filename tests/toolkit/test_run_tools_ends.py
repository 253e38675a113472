"""How a run ends before its end: nothing is left running, and the conversation stays one that the API accepts."""

import asyncio
import contextlib
import gc
import json
import weakref
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moonshot_async import AsyncMoonshot, MemoryTransport
from moonshot_async.catalog import CATALOG
from moonshot_async.errors import APITimeoutError, BadRequestError, ClientClosedError
from moonshot_async.fake import FakeMoonshot
from moonshot_async.fake.rules import check_chat
from moonshot_async.toolkit.functions import run_tools, tool
from moonshot_async.toolkit.functions.loop import ToolRun
from tests.scripted import LAST_CHUNK, SSE_HEAD, Peer, Start, chunk, events
from tests.secrets_scan import CANARY_KEY, CANARY_PROMPT

MODEL = "kimi-k2.6"
ASKED: list[dict[str, Any]] = [{"role": "user", "content": CANARY_PROMPT}]


def check(messages: list[dict[str, Any]]) -> None:
    """Refuse what the API would refuse."""
    saved = json.loads(json.dumps(messages))
    for model in (MODEL, "kimi-k3"):
        check_chat({"model": model, "messages": saved}, CATALOG, legacy_models=False)


class Held:
    """A tool that ends when it is told to.

    Attributes:
        begun, ended: the numbers it was called with, and with which it has ended, in whatever way.
    """

    name = "held"
    param: ClassVar = {"type": "function", "function": {"name": "held", "parameters": {"type": "object"}}}

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.ended: list[int] = []
        self.started = asyncio.Event()
        self.go_on = asyncio.Event()
        self.over = asyncio.Event()

    async def ends(self, count: int) -> None:
        """Wait until so many calls have ended."""
        async with asyncio.timeout(5):
            while len(self.ended) < count:
                self.over.clear()
                await self.over.wait()

    async def call(self, arguments: str, *, context: Any = None) -> str:
        number = json.loads(arguments)["n"]
        self.begun.append(number)
        self.started.set()
        try:
            await self.go_on.wait()
        finally:
            try:
                await asyncio.sleep(0)
            finally:
                self.ended.append(number)
                self.over.set()
        return f"held {number}"


@pytest.fixture
def fake() -> FakeMoonshot:
    fake = FakeMoonshot()
    fake.reply(tool_calls=[{"name": "held", "arguments": {"n": n}, "id": f"h{n}"} for n in range(2)], reasoning="Hm.")
    fake.reply("Done.", reasoning="Oh.")
    return fake


@pytest.fixture
async def client(fake: FakeMoonshot, no_leaks: None) -> AsyncIterator[AsyncMoonshot]:
    async with AsyncMoonshot(api_key=CANARY_KEY, transport=MemoryTransport(fake), max_retries=0) as client:
        yield client


async def until_started(run: ToolRun) -> None:
    async for event in run:
        if event.type == "tool.started":
            return


def stopped(messages: list[dict[str, Any]]) -> bool:
    """Whether two calls were stopped after they had begun, as the messages say."""
    check(messages)
    return [("cancelled before it ended" in m["content"]) for m in messages if m["role"] == "tool"] == [True, True]


async def test_closing_cancels_what_runs_and_says_so(client: AsyncMoonshot) -> None:
    held = Held()
    run = run_tools(client, model=MODEL, messages=ASKED, tools=[held])
    await until_started(run)
    await held.started.wait()
    assert stopped(run.messages)

    await run.aclose()
    await run.aclose()

    assert sorted(held.ended) == [0, 1]
    assert stopped(run.messages)
    assert [event async for event in run] == []
    assert "closed" in repr(run)


async def test_what_ends_late_is_told_to_nobody_and_stands_in_the_messages(
    client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    @tool
    async def late() -> str:
        """Answers whoever cancels it."""
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "all the same"
        return "never"

    fake.reset()
    fake.reply(tool_calls=[{"name": "late", "arguments": {}}], reasoning="")
    run = run_tools(client, model=MODEL, messages=ASKED, tools=[late])
    await until_started(run)

    await run.aclose()

    assert [event async for event in run] == []
    assert run.messages[-1]["content"] == "all the same"


async def test_the_end_of_async_with_closes(client: AsyncMoonshot) -> None:
    held = Held()
    with pytest.raises(LookupError):
        async with run_tools(client, model=MODEL, messages=ASKED, tools=[held]) as run:
            async for event in run:
                if event.type == "tool.started":
                    raise LookupError
    assert sorted(held.ended) == sorted(held.begun)
    check(run.messages)


async def test_a_run_that_is_left_and_dropped_ends(client: AsyncMoonshot) -> None:
    held = Held()
    async for event in run_tools(client, model=MODEL, messages=ASKED, tools=[held]):
        if event.type == "tool.started":
            break
    await held.ends(2)


async def test_a_run_that_is_dropped_by_an_exception_ends(client: AsyncMoonshot) -> None:
    held = Held()
    with contextlib.suppress(LookupError):
        async for event in run_tools(client, model=MODEL, messages=ASKED, tools=[held]):
            if event.type == "tool.started":
                raise LookupError
    await held.ends(2)


@pytest.mark.parametrize("left_at", ["tool.started", "done", "never"])
@pytest.mark.parametrize("status", [200, 400])
async def test_a_run_that_is_over_needs_no_garbage_collection(
    client: AsyncMoonshot, fake: FakeMoonshot, left_at: str, status: int
) -> None:
    class Context:
        """What only the run holds."""

    @tool
    async def now() -> str:
        """What time it is."""
        return "late"

    gone = asyncio.Event()

    async def main() -> "weakref.ref[Context]":
        context = Context()
        with contextlib.suppress(BadRequestError):
            async for event in run_tools(client, model=MODEL, messages=ASKED, tools=[now], context=context):
                if event.type == left_at:
                    break
        return weakref.ref(context, lambda _: gone.set())

    fake.reset()
    fake.reply(tool_calls=[{"name": "now", "arguments": {}}, {"name": "now", "arguments": {"a": 1}}], reasoning="")
    if status == 400:
        fake.fail(400)
    else:
        fake.reply("It is late.")
    gc.collect()
    gc.disable()
    try:
        held = await main()
        async with asyncio.timeout(5):
            await gone.wait()
        assert held() is None
    finally:
        gc.enable()


async def test_a_run_that_is_dropped_in_another_thread_ends(client: AsyncMoonshot) -> None:
    held = Held()
    runs = [run_tools(client, model=MODEL, messages=ASKED, tools=[held])]
    await until_started(runs[0])
    await asyncio.to_thread(runs.clear)
    await held.ends(2)


async def test_whoever_reads_is_cancelled_and_the_run_with_it(client: AsyncMoonshot) -> None:
    held = Held()
    run = run_tools(client, model=MODEL, messages=ASKED, tools=[held])
    reader = asyncio.ensure_future(run.until_done())
    await held.started.wait()
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert sorted(held.ended) == sorted(held.begun)
    check(run.messages)
    with pytest.raises(RuntimeError, match="before it was done"):
        await run


async def test_a_run_that_is_closed_before_it_began_sends_nothing(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    made = [{"id": "a", "type": "function", "function": {"name": "held", "arguments": "{}"}}]
    saved = [*ASKED, {"role": "assistant", "reasoning_content": "", "tool_calls": made}]
    run = run_tools(client, model=MODEL, messages=saved, tools=[Held()])
    assert "not begun" in repr(run)
    await run.aclose()
    assert [event async for event in run] == []
    assert not fake.requests
    check(run.messages)
    assert "before it began" in run.messages[-1]["content"]


async def test_one_task_reads_a_run(client: AsyncMoonshot) -> None:
    held = Held()
    async with run_tools(client, model=MODEL, messages=ASKED, tools=[held]) as run:
        reader = asyncio.ensure_future(run.until_done())
        await held.started.wait()
        with pytest.raises(RuntimeError, match="read by another task"):
            await anext(run)
        held.go_on.set()
        assert (await reader).text == "Done."


async def test_closing_while_another_task_reads_ends_its_loop(client: AsyncMoonshot) -> None:
    held = Held()
    run = run_tools(client, model=MODEL, messages=ASKED, tools=[held])
    reader = asyncio.ensure_future(_read(run))
    await held.started.wait()
    await run.aclose()
    assert "done" not in await reader


async def test_a_tool_may_close_its_own_run(client: AsyncMoonshot) -> None:
    @tool(name="held")
    async def held(n: int) -> str:
        """Close the run."""
        await run.aclose()
        return "never"

    run = run_tools(client, model=MODEL, messages=ASKED, tools=[held])
    assert "done" not in await _read(run)
    check(run.messages)


async def test_the_deadline_of_whoever_reads_bounds_the_tools(client: AsyncMoonshot) -> None:
    held = Held()
    run = run_tools(client, model=MODEL, messages=ASKED, tools=[held], timeout=None)
    with pytest.raises(APITimeoutError) as caught, client.deadline(0.3):
        await run
    assert caught.value.clock == "deadline"
    assert sorted(held.ended) == [0, 1]
    check(run.messages)


async def test_a_deadline_that_is_set_while_a_run_is_read_bounds_it(client: AsyncMoonshot) -> None:
    held = Held()
    run = run_tools(client, model=MODEL, messages=ASKED, tools=[held], timeout=None)
    await until_started(run)
    with pytest.raises(APITimeoutError, match="next event"), client.deadline(0.05):
        await run
    assert sorted(held.ended) == [0, 1]
    assert stopped(run.messages)


async def test_a_tool_that_ends_the_program_ends_the_run(client: AsyncMoonshot) -> None:
    class Stop(BaseException):
        """Not to be swallowed."""

    class Ending(Held):
        async def call(self, arguments: str, *, context: Any = None) -> str:
            if json.loads(arguments)["n"] == 0:
                raise Stop
            return await super().call(arguments, context=context)

    held = Ending()
    held.go_on.set()
    run = run_tools(client, model=MODEL, messages=ASKED, tools=[held])
    with pytest.raises(Stop):
        await run
    check(run.messages)
    assert [m["content"] for m in run.messages if m["role"] == "tool"][1] == "held 1"


@pytest.mark.usefixtures("no_leaks")
async def test_a_client_that_is_closed_ends_the_run_with_its_error(fake: FakeMoonshot) -> None:
    held = Held()
    client = AsyncMoonshot(api_key=CANARY_KEY, transport=MemoryTransport(fake), max_retries=0)
    run = run_tools(client, model=MODEL, messages=ASKED, tools=[held])
    await until_started(run)
    await client.aclose()
    held.go_on.set()
    with pytest.raises(ClientClosedError):
        await run
    check(run.messages)
    assert [m["content"] for m in run.messages if m["role"] == "tool"] == ["held 0", "held 1"]


@pytest.mark.parametrize("turns", [0, 1, 5])
async def test_a_loop_that_somebody_else_cancels_does_not_look_as_if_it_were_done(
    client: AsyncMoonshot, turns: int
) -> None:
    held = Held()
    run = run_tools(client, model=MODEL, messages=ASKED, tools=[held])
    before = asyncio.all_tasks()
    reader = asyncio.ensure_future(_read(run))
    await asyncio.sleep(0)
    (steps,) = (task for task in asyncio.all_tasks() - before if "steps" in task.get_name())
    for _ in range(turns):
        await asyncio.sleep(0)
    steps.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert sorted(held.ended) == sorted(held.begun)
    check(run.messages)


async def test_no_step_is_paid_for_that_nobody_waits_for(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    held = Held()
    held.go_on.set()
    async with run_tools(client, model=MODEL, messages=ASKED, tools=[held]) as run:
        await anext(run)
        for _ in range(50):
            await asyncio.sleep(0)
        assert sorted(held.ended) == [0, 1], "tools do not wait for whoever reads"
        assert len(fake.requests) == 1


async def test_what_nobody_has_taken_yet_becomes_one_piece_of_text(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    fake.reset()
    fake.reply(chunks=["a", "b", "c"] * 100, reasoning="Think, think, think.")
    run = run_tools(client, model=MODEL, messages=ASKED)
    texts = []
    async for event in run:
        if event.type in ("content.delta", "reasoning.delta"):
            texts.append((event.delta, event.snapshot))
        await asyncio.sleep(0)
    assert "".join(delta for delta, _ in texts[1:]) in ("abc" * 100, texts[-1][1])
    assert len(texts) < 20
    assert texts[-1][1] == "abc" * 100


# --- At any moment


@given(turns=st.integers(0, 60), taken=st.integers(0, 30), releases=st.integers(0, 40))
@settings(max_examples=120)
def test_at_every_moment_and_after_any_end_the_messages_are_valid(turns: int, taken: int, releases: int) -> None:
    async def main() -> None:
        fake = FakeMoonshot()
        calls = [{"name": "held", "arguments": {"n": n}, "id": f"h{n % 2}"} for n in range(3)]
        fake.reply(tool_calls=calls, reasoning="Hm.")
        fake.reply(tool_calls=[*calls[:1], {"name": "nobody", "arguments": "{", "id": ""}], reasoning="")
        fake.reply("Done.", reasoning="Oh.")
        held = Held()
        async with AsyncMoonshot(api_key=CANARY_KEY, transport=MemoryTransport(fake), max_retries=0) as client:
            run = run_tools(client, model=MODEL, messages=ASKED, tools=[held])
            reader = asyncio.ensure_future(_read(run, most=taken))
            for turn in range(turns):
                if turn == releases:
                    held.go_on.set()
                check(run.messages)
                await asyncio.sleep(0)
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reader
            await run.aclose()
            check(run.messages)
            assert sorted(held.ended) == sorted(held.begun)
            assert len(asyncio.all_tasks()) == 1
            # Another run goes on from there.
            held.go_on.set()
            fake.reset()
            fake.reply("At last.")
            done = await run_tools(client, model=MODEL, messages=json.loads(json.dumps(run.messages)), tools=[held])
            assert done.text == "At last."

    asyncio.run(main())


# --- Over a network


def piece(**delta: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    return chunk(events(json.dumps({"id": "c", "choices": [choice]}).encode()))


def finish(reason: str) -> bytes:
    last = {"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}
    return chunk(events(json.dumps(last).encode(), b"[DONE]")) + LAST_CHUNK


@pytest.mark.usefixtures("no_leaks")
async def test_a_tool_begins_before_the_stream_has_ended(scripted: Start, client_of: Any) -> None:
    held = Held()

    async def play(peer: Peer) -> None:
        await peer.request()
        call = {"index": 0, "id": "a", "type": "function", "function": {"name": "held", "arguments": ""}}
        await peer.send(SSE_HEAD + piece(role="assistant", reasoning_content="Hm."), piece(tool_calls=[call]))
        await peer.send(piece(tool_calls=[{"index": 0, "function": {"arguments": '{"n":'}}]))
        assert not held.begun
        await peer.send(piece(tool_calls=[{"index": 0, "function": {"arguments": "1}"}}]))
        # The end of the stream is held back until the tool has begun, and ended.
        await held.started.wait()
        held.go_on.set()
        await held.ends(1)
        await peer.send(finish("tool_calls"))
        await peer.request()
        await peer.send(SSE_HEAD + piece(role="assistant", content="Done."), finish("stop"))

    client = client_of(await scripted(play))
    run = run_tools(client, model=MODEL, messages=ASKED, tools=[held])
    types = [event.type async for event in run]
    assert types.index("tool.finished") < types.index("message"), "the answer was still on its way"
    assert run.done is not None
    assert run.done.text == "Done."


@pytest.mark.usefixtures("no_leaks")
async def test_a_slow_reader_keeps_no_tool_from_starting(scripted: Start, client_of: Any) -> None:
    held = Held()

    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(SSE_HEAD + piece(role="assistant", content="I shall see."))
        call = {"index": 0, "id": "a", "type": "function", "function": {"name": "held", "arguments": '{"n":1}'}}
        await peer.send(piece(tool_calls=[call]))
        await peer.gone()

    client = client_of(await scripted(play))
    async with run_tools(client, model=MODEL, messages=ASKED, tools=[held]) as run:
        assert (await anext(run)).type == "content.delta"
        async with asyncio.timeout(5):
            await held.started.wait()
        messages = run.messages
        check(messages)
        assert messages[1]["content"] == "I shall see."
    assert held.ended == [1]


@pytest.mark.usefixtures("no_leaks")
async def test_a_deadline_that_ends_an_answer_ends_the_tools_that_had_begun(scripted: Start, client_of: Any) -> None:
    held = Held()

    async def play(peer: Peer) -> None:
        await peer.request()
        call = {"index": 0, "id": "a", "type": "function", "function": {"name": "held", "arguments": '{"n":1}'}}
        await peer.send(SSE_HEAD + piece(role="assistant", reasoning_content="Hm."), piece(tool_calls=[call]))
        await peer.gone()

    client = client_of(await scripted(play))
    run = run_tools(client, model=MODEL, messages=ASKED, tools=[held])
    with pytest.raises(APITimeoutError) as caught, client.deadline(0.6):
        await run
    assert caught.value.partial is not None, "what came of the answer"
    assert held.ended == [1]
    check(run.messages)
    assert "cancelled before it ended" in run.messages[-1]["content"]


@pytest.mark.usefixtures("no_leaks")
async def test_half_a_text_is_no_message(scripted: Start, client_of: Any) -> None:
    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(SSE_HEAD + piece(role="assistant", content="Half a"))
        await peer.gone()

    client = client_of(await scripted(play))
    async with run_tools(client, model=MODEL, messages=ASKED) as run:
        await anext(run)
        assert run.messages == ASKED
    assert run.messages == ASKED


@pytest.mark.usefixtures("no_leaks")
async def test_a_run_that_is_dropped_closes_its_connection(scripted: Start, client_of: Any) -> None:
    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(SSE_HEAD + piece(role="assistant", content="Wait"))
        await peer.gone()

    server = await scripted(play)
    client = client_of(server)
    gc.disable()
    try:
        async for _ in run_tools(client, model=MODEL, messages=ASKED):
            break
        await server.until(lambda: server.open == 0)
    finally:
        gc.enable()


# --- Helpers


async def _read(run: ToolRun, most: int = 1000) -> list[str]:
    """The types of so many events; then nobody takes any more."""
    types: list[str] = []
    async for event in run:
        types.append(event.type)
        if len(types) > most:
            await asyncio.Event().wait()
    return types
