"""A model, its tools, and the loop between them, against the strict fake."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import Any, ClassVar

import pytest

from moonshot_async import AsyncMoonshot, MemoryTransport
from moonshot_async.errors import (
    BadRequestError,
    ConfigurationError,
    ContentFilterFinishReasonError,
    LengthFinishReasonError,
    SchemaError,
    StreamInterruptedError,
    ToolArgumentsError,
    ToolTimeoutError,
)
from moonshot_async.fake import FakeMoonshot
from moonshot_async.toolkit.functions import ToolContext, ToolRequest, formula_tools, run_tools, tool
from moonshot_async.toolkit.functions.loop import ToolRun
from moonshot_async.toolkit.functions.loop.events import RunEvent
from moonshot_async.types.chat_params import WEB_SEARCH
from tests import virtual_time
from tests.secrets_scan import CANARY_KEY, CANARY_PROMPT

MODEL = "kimi-k3"
ASKED: list[dict[str, Any]] = [{"role": "user", "content": CANARY_PROMPT}]


@tool
async def double(number: int) -> str:
    """Twice a number."""
    return str(2 * number)


@tool
def shout(text: str) -> str:
    """The text in capitals."""
    return text.upper()


@tool
async def broken(why: str = "nothing") -> str:
    """Raises."""
    raise ValueError(f"because of {why}")


@pytest.fixture
def fake() -> FakeMoonshot:
    return FakeMoonshot()


@pytest.fixture
async def client(fake: FakeMoonshot, no_leaks: None) -> AsyncIterator[AsyncMoonshot]:
    transport = MemoryTransport(fake)
    async with AsyncMoonshot(api_key=CANARY_KEY, region="intl", transport=transport, max_retries=0) as client:
        yield client


def call(name: str, id: str | None = None, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "arguments": arguments} | ({} if id is None else {"id": id})


def sent(fake: FakeMoonshot, place: int = -1) -> dict[str, Any]:
    """The body of a request."""
    body: dict[str, Any] = json.loads(fake.requests[place].content)
    return body


def answers(messages: list[dict[str, Any]]) -> list[str]:
    return [message["content"] for message in messages if message["role"] == "tool"]


async def events_of(run: ToolRun) -> list[RunEvent]:
    return [event async for event in run]


def kinds(events: list[RunEvent]) -> list[str]:
    """The types of events, those of text once for each text."""
    types = [event.type for event in events]
    return [kind for place, kind in enumerate(types) if kind != (types[place - 1] if place else "")]


# --- The way of a run


async def test_a_run_calls_a_tool_and_ends_in_an_answer(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    fake.reply(tool_calls=[call("double", "double:0", number=21)], reasoning="Let me see.")
    fake.reply("It is 42.", reasoning="Now I know.")

    run = run_tools(client, model=MODEL, messages=ASKED, tools=[double])
    events = await events_of(run)

    assert kinds(events) == [
        "reasoning.delta",
        "usage",
        "message",
        "tool.started",
        "tool.finished",
        "message",
        "reasoning.delta",
        "content.delta",
        "usage",
        "message",
        "done",
    ]
    done = run.done
    assert done is not None
    assert (done.reason, done.text, done.steps) == ("answered", "It is 42.", 2)
    assert run.messages == done.messages
    assert run.messages == [
        *ASKED,
        {
            "role": "assistant",
            "reasoning_content": "Let me see.",
            "tool_calls": [
                {"id": "double:0", "type": "function", "function": {"name": "double", "arguments": '{"number":21}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "double:0", "name": "double", "content": "42"},
        {"role": "assistant", "content": "It is 42.", "reasoning_content": "Now I know."},
    ]
    assert [event.message for event in events if event.type == "message"] == run.messages[1:]
    assert sent(fake)["messages"] == run.messages[:3]


async def test_a_run_can_be_awaited(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    fake.reply(tool_calls=[call("double", number=1)], reasoning="")
    fake.reply("Two.")

    done = await run_tools(client, model=MODEL, messages=ASKED, tools=[double])

    assert (done.reason, done.text) == ("answered", "Two.")


async def test_without_tools_a_run_is_one_answer(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    fake.reply("Hi.")

    done = await run_tools(client, model=MODEL, messages=ASKED)

    assert (done.reason, done.text, len(fake.requests)) == ("answered", "Hi.", 1)
    assert "tools" not in sent(fake)


def test_five_tools_in_three_steps_run_at_the_same_time_whatever_becomes_of_them() -> None:
    async def main() -> None:
        fake = FakeMoonshot()
        loop = asyncio.get_running_loop()

        @tool
        async def quick(n: int) -> str:
            """Quick."""
            await asyncio.sleep(1)
            return f"quick {n}"

        @tool
        async def slow(n: int) -> str:
            """Slow."""
            await asyncio.sleep(5)
            return f"slow {n}"

        @tool
        async def raising(n: int) -> str:
            """Raising."""
            await asyncio.sleep(2)
            raise RuntimeError("out of order")

        @tool(timeout=4)
        async def stuck(n: int) -> str:
            """Stuck."""
            await asyncio.sleep(1000)
            return "never"

        @tool
        async def unwanted(n: int) -> str:
            """Unwanted."""
            await asyncio.sleep(1000)
            return "never"

        five = [quick, slow, raising, stuck, unwanted]
        fake.reply(tool_calls=[call(one.name, f"{one.name}:0", n=1) for one in five], reasoning="All at once.")
        fake.reply(tool_calls=[call("quick", "quick:5", n=2), call("slow", "slow:6", n=2)], reasoning="Again.")
        fake.reply("Done.", reasoning="Enough.")
        async with AsyncMoonshot(api_key=CANARY_KEY, transport=MemoryTransport(fake), max_retries=0) as client:
            run = run_tools(client, model="kimi-k2.6", messages=ASKED, tools=five)
            failed: dict[str, str] = {}
            async for event in run:
                if event.type == "tool.started" and event.name == "unwanted":
                    loop.call_later(3, event.cancel)
                elif event.type == "tool.failed":
                    failed[event.name] = event.reason
                    assert event.seconds == pytest.approx({"raising": 2, "stuck": 4, "unwanted": 3}[event.name])
        assert failed == {"raising": "raised", "stuck": "timed_out", "unwanted": "cancelled"}
        assert loop.time() == pytest.approx(10), "each step takes as long as its slowest tool"
        assert run.done is not None
        assert (run.done.reason, run.done.text, run.done.steps) == ("answered", "Done.", 3)
        told = answers(run.messages)
        assert told[:2] == ["quick 1", "slow 1"]
        assert "RuntimeError: out of order" in told[2]
        assert "Traceback" not in told[2]
        assert "did not end within 4 s" in told[3]
        assert "cancelled before it ended" in told[4]
        assert told[5:] == ["quick 2", "slow 2"]
        assert all(message.get("reasoning_content") for message in run.messages if message["role"] == "assistant")

    virtual_time.run(main())


async def test_a_run_that_is_killed_between_two_steps_goes_on_from_its_saved_messages(
    client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    fake.reply(tool_calls=[call("double", "double:0", number=1)], reasoning="First.")
    run = run_tools(client, model=MODEL, messages=ASKED, tools=[double])
    async for event in run:
        if event.type == "message" and event.message["role"] == "tool":
            saved = json.dumps(run.messages)
            break
    await run.aclose()
    assert len(fake.requests) == 1

    fake.reply(tool_calls=[call("shout", "shout:1", text="two")], reasoning="Then.")
    fake.reply("TWO", reasoning="Last.")
    done = await run_tools(client, model=MODEL, messages=json.loads(saved), tools=[double, shout])

    assert (done.reason, done.text) == ("answered", "TWO")
    assert answers(done.messages) == ["2", "TWO"]


async def test_calls_at_the_end_of_saved_messages_that_have_no_answer_are_run_first(
    client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    made = [
        {"id": f"c{n}", "type": "function", "function": {"name": "double", "arguments": json.dumps({"number": n})}}
        for n in range(3)
    ]
    saved = [
        *ASKED,
        {"role": "assistant", "content": "", "reasoning_content": "", "tool_calls": made},
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "two, I think"}]},
    ]
    fake.reply("All done.", reasoning="")
    run = run_tools(client, model=MODEL, messages=saved, tools=[double])
    assert [m.get("tool_call_id") for m in run.messages[2:]] == ["c0", "c1", "c2"], "valid before it has begun"

    events = await events_of(run)

    assert [event.step for event in events if event.type == "tool.started"] == [0, 0]
    assert len(fake.requests) == 1
    contents = [m["content"] for m in run.messages if m["role"] == "tool"]
    assert contents == ["0", [{"type": "text", "text": "two, I think"}], "4"]


@pytest.mark.parametrize(
    "last",
    [
        [{"role": "assistant", "reasoning_content": "", "tool_calls": [{"id": "a"}]}],
        [{"role": "assistant", "reasoning_content": "", "tool_calls": ["a"]}],
        [{"role": "assistant", "reasoning_content": "", "tool_calls": "a"}],
        [{"role": "tool", "tool_call_id": "a", "content": "to nobody"}],
        [
            {
                "role": "assistant",
                "reasoning_content": "",
                "tool_calls": [{"id": "a", "type": "function", "function": {"name": "double", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "b", "content": "to nobody"},
        ],
    ],
)
async def test_what_was_never_a_conversation_is_left_to_the_api_to_refuse(
    client: AsyncMoonshot, last: list[dict[str, Any]]
) -> None:
    with pytest.raises(BadRequestError):
        await run_tools(client, model=MODEL, messages=[*ASKED, *last], tools=[double])


async def test_the_messages_that_were_given_stay_as_they_are(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    given = [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]
    before = json.dumps(given)
    fake.reply(tool_calls=[call("double", number=1)], reasoning="")
    fake.reply("Two.")

    run = run_tools(client, model=MODEL, messages=given, tools=[double])
    run.messages[0]["content"].clear()
    await run

    assert json.dumps(given) == before
    assert run.messages[0] == given[0]


async def test_the_messages_of_an_answer_can_be_gone_on_with(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    fake.reply(tool_calls=[call("double", "d", number=4)], reasoning="Hm.")
    completion = await client.chat.completions.create(model=MODEL, messages=ASKED, tools=[double.param])
    fake.reply("Eight.")

    done = await run_tools(client, model=MODEL, messages=[*ASKED, completion.choices[0].message], tools=[double])

    assert answers(done.messages) == ["8"]
    json.dumps(done.messages)


async def test_reasoning_and_fields_that_nobody_knows_are_put_back_as_they_came() -> None:
    fake = FakeMoonshot()
    fake.reply(tool_calls=[call("double", number=1)], reasoning="")
    fake.reply("Two.")
    async with AsyncMoonshot(api_key=CANARY_KEY, transport=MemoryTransport(fake)) as client:
        done = await run_tools(client, model="kimi-k2.6", messages=ASKED, tools=[double])
    assert done.messages[1]["reasoning_content"] == ""
    assert "content" not in done.messages[1]


async def test_a_model_that_thinks_gets_the_field_for_thoughts_back_even_where_it_sent_none(
    client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    fake.reply(tool_calls=[call("double", number=1)])
    fake.reply("Two.")
    done = await run_tools(client, model="kimi-k2.6", messages=ASKED, tools=[double])
    assert done.messages[1]["reasoning_content"] == ""

    fake.reply(tool_calls=[call("double", number=1)])
    fake.reply("Two.")
    done = await run_tools(client, model="kimi-k2.6", messages=ASKED, tools=[double], thinking={"type": "disabled"})
    assert "reasoning_content" not in done.messages[1]


# --- Calls


async def test_a_tool_that_is_not_async_runs_in_a_thread(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    fake.reply(tool_calls=[call("shout", text="hey")], reasoning="")
    fake.reply("Loud.")
    done = await run_tools(client, model=MODEL, messages=ASKED, tools=[shout])
    assert answers(done.messages) == ["HEY"]


async def test_a_typed_function_is_a_tool_without_further_ado(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    def add(a: int, b: int) -> int:
        """The sum."""
        return a + b

    fake.reply(tool_calls=[call("add", a=1, b=2)], reasoning="")
    fake.reply("Three.")
    done = await run_tools(client, model=MODEL, messages=ASKED, tools=[add])
    assert answers(done.messages) == ["3"]
    assert sent(fake)["tools"][0]["function"]["description"] == "The sum."


async def test_bad_arguments_and_unknown_tools_become_answers(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    fake.reply(
        tool_calls=[
            call("double", "a", number="x"),
            {"name": "double", "arguments": '{"number": 1', "id": "b"},
            call("doubel", "c", number=1),
            call("", "d"),
            {"name": "broken", "arguments": "", "id": "e"},
        ],
        reasoning="",
    )
    fake.reply("Sorry.")

    run = run_tools(client, model=MODEL, messages=ASKED, tools=[double, broken])
    events = await events_of(run)

    failed = {event.call_id: event for event in events if event.type == "tool.failed"}
    assert {id: event.reason for id, event in failed.items()} == {
        "a": "bad_arguments",
        "b": "bad_arguments",
        "c": "unknown_tool",
        "d": "unknown_tool",
        "e": "raised",
    }
    assert isinstance(failed["a"].error, ToolArgumentsError)
    told = answers(run.messages)
    assert "$.number" in told[0]
    assert "double" in told[2]
    assert "because of nothing" in told[4]
    assert run.messages[1]["tool_calls"][4]["function"]["arguments"] == "{}"
    assert "name" not in run.messages[5]


async def test_a_traceback_is_told_only_when_asked_for(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    for show in (False, True):
        fake.reply(tool_calls=[call("broken")], reasoning="")
        fake.reply("Oh.")
        done = await run_tools(client, model=MODEL, messages=ASKED, tools=[broken], show_tracebacks=show)
        assert ("Traceback" in answers(done.messages)[0]) == show


async def test_no_more_tools_run_at_once_than_allowed(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    running = most = 0

    @tool
    async def work(n: int) -> int:
        """Work."""
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        running -= 1
        return n

    for parallel in (1, 3):
        most = 0
        fake.reply(tool_calls=[call("work", f"w{n}", n=n) for n in range(9)], reasoning="")
        fake.reply("Ok.")
        done = await run_tools(client, model=MODEL, messages=ASKED, tools=[work], parallel=parallel)
        assert most == parallel
        assert answers(done.messages) == [str(n) for n in range(9)]


def test_the_timeout_of_a_tool_counts_and_else_that_of_the_run() -> None:
    async def main() -> None:
        fake = FakeMoonshot()
        times: dict[str, float] = {}

        def sleeper(name: str, **options: Any) -> Any:
            async def sleep() -> None:
                """Sleep."""
                await asyncio.sleep(1000)

            return tool(sleep, name=name, **options)

        class Own:
            """A tool of somebody else's."""

            name = "own"
            param: ClassVar = {"type": "function", "function": {"name": "own", "parameters": {"type": "object"}}}

            async def call(self, arguments: str, *, context: Any = None) -> str:
                raise TimeoutError("its own")

        fake.reply(tool_calls=[call("short"), call("usual"), call("own")], reasoning="")
        fake.reply("Slow.")
        async with AsyncMoonshot(api_key=CANARY_KEY, transport=MemoryTransport(fake)) as client:
            tools = [sleeper("short", timeout=2), sleeper("usual"), Own()]
            run = run_tools(client, model=MODEL, messages=ASKED, tools=tools, timeout=7)
            async for event in run:
                if event.type == "tool.failed":
                    times[event.name] = event.seconds
                    assert event.reason == ("raised" if event.name == "own" else "timed_out")
                    assert isinstance(event.error, TimeoutError)
                    assert isinstance(event.error, ToolTimeoutError) == (event.name != "own")
        assert times == {"short": pytest.approx(2), "usual": pytest.approx(7), "own": pytest.approx(0)}

    virtual_time.run(main())


async def test_a_tool_that_is_cancelled_from_within_harms_nobody(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    class Odd:
        """A tool of somebody else's."""

        name = "odd"
        param: ClassVar = {"type": "function", "function": {"name": "odd", "parameters": {"type": "object"}}}

        async def call(self, arguments: str, *, context: Any = None) -> str:
            raise asyncio.CancelledError

    fake.reply(tool_calls=[call("odd"), call("double", number=2)], reasoning="")
    fake.reply("Ok.")
    done = await run_tools(client, model=MODEL, messages=ASKED, tools=[Odd(), double])
    told = answers(done.messages)
    assert "cancelled from within" in told[0]
    assert told[1] == "4"


async def test_a_tool_of_somebody_else_is_held_to_what_it_says_of_itself(
    client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    class Foreign:
        """Some object."""

        timeout = 0.01

        def __init__(self, name: str) -> None:
            self.name = name
            self.param = {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}

        async def call(self, arguments: str, *, context: Any = None) -> Any:
            if self.name == "slow":
                await asyncio.sleep(100)
            return {"bytes": b"", "data": {"a": [1]}, "nothing": None, "empty": ""}[self.name]

    names = ["slow", "bytes", "data", "nothing", "empty"]
    fake.reply(tool_calls=[call(name) for name in names], reasoning="")
    fake.reply("Ok.")
    done = await run_tools(client, model=MODEL, messages=ASKED, tools=[Foreign(name) for name in names])
    told = dict(zip(names, answers(done.messages), strict=True))
    assert "did not end within 0.01 s" in told["slow"]
    assert "bytes are no text" in told["bytes"]
    assert told["data"] == '{"a":[1]}'
    assert told["nothing"]
    assert told["empty"], "the API takes no empty messages"


async def test_a_call_can_be_cancelled_before_its_first_step(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    class First:
        """A tool that has the next call cancelled, at once."""

        name = "first"
        param: ClassVar = {"type": "function", "function": {"name": "first", "parameters": {"type": "object"}}}

        async def call(self, arguments: str, *, context: Any = None) -> str:
            assert run.cancel("b")
            return "first"

    fake.reply(tool_calls=[call("first", "a", n=1), call("double", "b", number=1)], reasoning="")
    fake.reply("Ok.")
    run = run_tools(client, model=MODEL, messages=ASKED, tools=[First(), double])
    failed = [(event.call_id, event.reason, repr(event)) async for event in run if event.type == "tool.failed"]
    assert failed == [("b", "cancelled", "ToolFailedEvent('double', 'b', 'cancelled')")]
    assert "cancelled before it began. The user did so." in answers(run.messages)[1]


async def test_calls_can_be_cancelled_while_they_wait_and_only_once(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    @tool
    async def wait(n: int) -> str:
        """Wait."""
        await asyncio.sleep(1000)
        return "never"

    fake.reply(tool_calls=[call("wait", "a", n=1), call("wait", "b", n=2)], reasoning="")
    fake.reply("Ok.")
    run = run_tools(client, model=MODEL, messages=ASKED, tools=[wait], parallel=1)
    reasons = []
    async for event in run:
        if event.type == "tool.started":
            assert run.cancel("b"), "it has not begun"
            assert event.cancel()
        elif event.type == "tool.failed":
            reasons.append((event.call_id, event.reason))
            assert not run.cancel(event.call_id)
    assert sorted(reasons) == [("a", "cancelled"), ("b", "cancelled")]
    assert not run.cancel("nobody")
    told = answers(run.messages)
    assert "before it ended" in told[0]
    assert "before it began" in told[1]


async def test_a_tool_sees_the_context_of_the_run(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    seen: list[ToolContext[dict[str, str]]] = []

    @tool
    async def look(context: ToolContext[dict[str, str]]) -> str:
        """Look."""
        seen.append(context)
        return context.context["user"]

    fake.reply(tool_calls=[call("look", "l")], reasoning="")
    fake.reply("Ok.")
    done = await run_tools(client, model=MODEL, messages=ASKED, tools=[look], context={"user": "Mo"})
    assert answers(done.messages) == ["Mo"]
    assert (seen[0].call_id, seen[0].tool_name, seen[0].step) == ("l", "look", 1)
    assert list(seen[0].messages) == ASKED


async def test_plain_definitions_are_run_by_the_handler(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    definition = {"type": "function", "function": {"name": "lookup", "parameters": {"type": "object"}}}

    async def handler(request: ToolRequest) -> Any:
        return {"asked": json.loads(request.arguments), "context": request.context}

    hooks: list[Callable[[ToolRequest], Any]] = [handler, lambda request: request.name.upper()]
    for hook, told in zip(hooks, ['{"asked":{"q":1},"context":7}', "LOOKUP"], strict=True):
        fake.reply(tool_calls=[call("lookup", q=1)], reasoning="")
        fake.reply("Ok.")
        done = await run_tools(client, model=MODEL, messages=ASKED, tools=[definition], handler=hook, context=7)
        assert answers(done.messages) == [told]


async def test_the_search_of_the_service_joins_the_run(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    found = '{"search_result":{"search_id":"s1"},"usage":{"total_tokens":99}}'
    for search in ("$web_search", WEB_SEARCH):
        fake.reply(
            tool_calls=[{"name": "$web_search", "arguments": found, "id": "s"}, call("double", number=1)], reasoning=""
        )
        fake.reply("Found.")
        done = await run_tools(client, model=MODEL, messages=ASKED, tools=[search, double])
        assert answers(done.messages) == [found, "2"]
        assert done.messages[1]["tool_calls"][0]["type"] == "builtin_function"
        assert done.messages[2]["name"] == "$web_search"


async def test_formulas_join_the_run(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    tools = await formula_tools(client, "moonshot/base64:latest", "moonshot/web-search:latest")
    assert [one.name for one in tools] == ["base64", "web_search"]
    assert "moonshot/base64" in repr(tools[0])
    properties = tools[0].param["function"]["parameters"]["properties"]
    fake.reply(
        tool_calls=[
            call("web_search", query="rain"),
            call("base64", **dict.fromkeys(properties, "?")),
            call("double", number=3),
        ],
        reasoning="",
    )
    fake.reply("Found.")

    done = await run_tools(client, model=MODEL, messages=ASKED, tools=[*tools, double])

    told = answers(done.messages)
    assert told[0].startswith("----MOONSHOT ENCRYPTED BEGIN----")
    assert told[2] == "6"


async def test_a_formula_without_a_name_is_refused(fake: FakeMoonshot, client: AsyncMoonshot) -> None:
    from moonshot_async.errors import APIResponseValidationError

    fake.fail(200, body={"tools": [{"type": "function"}]}, path="/formulas/*")
    with pytest.raises(APIResponseValidationError, match="without a name"):
        await formula_tools(client, "moonshot/date:latest")


# --- Approval


async def test_calls_are_approved_before_they_run_one_after_the_other(
    client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    asking = 0

    async def approve(request: ToolRequest) -> bool | str:
        nonlocal asking
        asking += 1
        assert asking == 1, "one question after the other"
        await asyncio.sleep(0)
        asking -= 1
        return {"a": True, "b": False, "c": "not on a Sunday"}[request.call_id]

    fake.reply(tool_calls=[call("double", id, number=n) for n, id in enumerate("abc")], reasoning="")
    fake.reply("Ok.")
    run = run_tools(client, model=MODEL, messages=ASKED, tools=[double], approve=approve)
    events = await events_of(run)

    assert [e.call_id for e in events if e.type == "tool.started"] == ["a"]
    assert [(e.call_id, e.reason) for e in events if e.type == "tool.failed"] == [("b", "refused"), ("c", "refused")]
    told = answers(run.messages)
    assert told[0] == "0"
    assert "not approved" in told[1]
    assert "not on a Sunday" in told[2]


@pytest.mark.parametrize("answer", [None, 1, ""])
async def test_what_is_no_clear_yes_approves_nothing(client: AsyncMoonshot, fake: FakeMoonshot, answer: Any) -> None:
    fake.reply(tool_calls=[call("double", number=1)], reasoning="")
    fake.reply("Ok.")
    done = await run_tools(client, model=MODEL, messages=ASKED, tools=[double], approve=lambda request: answer)
    assert "not approved" in answers(done.messages)[0]


async def test_a_hook_that_raises_lets_no_call_through(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    def approve(request: ToolRequest) -> bool:
        raise OSError("nobody there")

    fake.reply(tool_calls=[call("double", number=1)], reasoning="")
    fake.reply("Ok.")
    run = run_tools(client, model=MODEL, messages=ASKED, tools=[double], approve=approve)
    events = await events_of(run)
    assert [e.reason for e in events if e.type == "tool.failed"] == ["raised"]
    assert not [e for e in events if e.type == "tool.started"]


async def test_the_approval_of_a_tool_counts_instead_of_that_of_the_run(
    client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    def named(name: str, approve: Any) -> Any:
        async def function() -> str:
            """Says its name."""
            return name

        return tool(function, name=name, approve=approve)

    async def later(request: ToolRequest) -> bool:
        return True

    tools = [
        named("own_yes", lambda request: later(request)),
        named("own_no", lambda request: False),
        named("never", False),
        named("must", True),
        named("plain", None),
    ]
    fake.reply(tool_calls=[call(one.name, one.name) for one in tools], reasoning="")
    fake.reply("Ok.")
    run = run_tools(client, model=MODEL, messages=ASKED, tools=tools, approve=lambda request: "no")
    started = [event.name async for event in run if event.type == "tool.started"]
    assert sorted(started) == ["never", "own_yes"]
    with pytest.raises(ConfigurationError, match="approve="):
        run_tools(client, model=MODEL, messages=ASKED, tools=[named("must", True)])


# --- Bounds


async def test_the_last_step_of_several_ends_in_an_answer(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    fake.reply(tool_calls=[call("double", number=1)], reasoning="")
    fake.reply(tool_calls=[call("double", number=2)], reasoning="")
    fake.reply("As far as I got: 4.")
    done = await run_tools(client, model=MODEL, messages=ASKED, tools=[double], max_steps=3)
    assert (done.reason, done.text, done.steps) == ("max_steps", "As far as I got: 4.", 3)
    assert [sent(fake, place).get("tool_choice") for place in range(3)] == [None, None, "none"]


async def test_calls_that_come_in_the_last_step_all_the_same_are_answered_and_not_run(
    client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    fake.reply(tool_calls=[call("double", number=1)], reasoning="")
    fake.reply(tool_calls=[call("double", number=2)], reasoning="")
    run = run_tools(client, model=MODEL, messages=ASKED, tools=[double], max_steps=2)
    events = await events_of(run)
    assert [e.reason for e in events if e.type == "tool.failed"] == ["not_run"]
    assert run.done is not None
    assert (run.done.reason, run.done.message, run.done.text) == ("max_steps", None, "")
    assert await _is_valid(client, fake, run.messages)


async def test_a_single_step_runs_its_calls_and_another_run_goes_on(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    fake.reply(tool_calls=[call("double", number=1)], reasoning="")
    done = await run_tools(client, model=MODEL, messages=ASKED, tools=[double], max_steps=1)
    assert (done.reason, answers(done.messages)) == ("max_steps", ["2"])
    fake.reply("Two.")
    done = await run_tools(client, model=MODEL, messages=done.messages, tools=[double], max_steps=1)
    assert (done.reason, done.text) == ("answered", "Two.")


async def test_tokens_are_bounded(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    usage = {"prompt_tokens": 30, "completion_tokens": 20, "total_tokens": 50}
    fake.reply(tool_calls=[call("double", number=1)], reasoning="", usage=usage, times=2)
    run = run_tools(client, model=MODEL, messages=ASKED, tools=[double], max_tokens=100)
    events = await events_of(run)
    assert run.done is not None
    assert (run.done.reason, run.done.steps, answers(run.messages)) == ("max_tokens", 2, ["2", "2"])
    told = [event for event in events if event.type == "usage"]
    assert [(e.step, e.usage.total_tokens, e.total.total_tokens) for e in told] == [(1, 50, 50), (2, 50, 100)]
    assert run.usage is not None
    assert run.usage.total_tokens == 100


async def test_cost_is_bounded_and_told(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    usage = {"prompt_tokens": 1_000_000, "completion_tokens": 0, "total_tokens": 1_000_000}
    fake.reply(tool_calls=[call("double", number=1)], reasoning="", usage=usage, times=None)
    run = run_tools(client, model=MODEL, messages=ASKED, tools=[double], max_cost=5.5)
    costs = [(event.cost, event.total_cost) async for event in run if event.type == "usage"]
    assert costs == [(Decimal(3), Decimal(3)), (Decimal(3), Decimal(6))]
    assert run.done is not None
    assert (run.done.reason, run.done.cost, run.cost) == ("max_cost", Decimal(6), Decimal(6))


async def test_a_model_without_a_price_has_no_cost(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    with pytest.raises(ConfigurationError, match="no USD price"):
        run_tools(client, model="kimi-unheard-of", messages=ASKED, max_cost=1)
    assert not fake.requests


async def test_a_model_that_the_catalog_does_not_know_is_run_all_the_same() -> None:
    frames = _streaming(_frames_of(text="Hi."))
    async with AsyncMoonshot(api_key=CANARY_KEY, transport=MemoryTransport(frames)) as other:
        run = run_tools(other, model="my-own", messages=ASKED)
        costs = [(event.cost, event.total_cost) async for event in run if event.type == "usage"]
        assert (costs, run.cost) == ([(Decimal("0.00012"), Decimal("0.00012"))], Decimal("0.00012"))
    frames = _streaming([frame.replace(b"kimi-k3", b"my-own") for frame in _frames_of(text="Hi.")])
    async with AsyncMoonshot(api_key=CANARY_KEY, transport=MemoryTransport(frames)) as other:
        assert (await run_tools(other, model=MODEL, messages=ASKED)).cost == Decimal("0.00012")
    frames = _streaming([frame.replace(b"kimi-k3", b"my-own") for frame in _frames_of(text="Hi.")])
    async with AsyncMoonshot(api_key=CANARY_KEY, transport=MemoryTransport(frames)) as other:
        run = run_tools(other, model="my-own", messages=ASKED)
        costs = [(event.cost, event.total_cost) async for event in run if event.type == "usage"]
        assert (costs, run.cost) == ([(None, None)], None)


async def test_where_the_usage_is_not_told_what_counts_it_ends_the_run(
    client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    nothing = _without_usage(fake)
    async with AsyncMoonshot(api_key=CANARY_KEY, transport=MemoryTransport(nothing)) as other:
        fake.reply(tool_calls=[call("double", number=1)], reasoning="")
        run = run_tools(other, model=MODEL, messages=ASKED, tools=[double], max_tokens=10)
        events = await events_of(run)
        assert not [event for event in events if event.type == "usage"]
        assert run.done is not None
        assert (run.done.reason, run.done.cost, run.done.usage) == ("unknown_usage", None, None)
        assert await _is_valid(client, fake, run.messages)

        fake.reply("Hi.")
        done = await run_tools(other, model=MODEL, messages=ASKED, tools=[double])
        assert done.reason == "answered"


async def test_a_call_that_is_made_over_and_over_is_reminded_of_and_then_stopped(
    client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    texts = ['{"a":1,"number":1}', '{ "number": 1.0, "a": 1 }']

    @tool
    async def same(a: int, number: int) -> str:
        """The same."""
        return "as ever"

    for n in range(8):
        fake.reply(tool_calls=[{"name": "same", "arguments": texts[n % 2], "id": f"s{n}"}], reasoning="")
    run = run_tools(client, model=MODEL, messages=ASKED, tools=[same], remind_after=2, max_repeats=4)
    await run
    assert run.done is not None
    assert (run.done.reason, run.done.steps) == ("repeated_calls", 5)
    told = answers(run.messages)
    assert told[:2] == ["as ever", "as ever"]
    assert "[Reminder: 3 of your messages have called same" in told[2]
    assert "[Reminder: 4 of your messages have called same" in told[3]
    assert told[4] == "This call was not run: 5 of your messages have called same with the same arguments."
    assert await _is_valid(client, fake, run.messages)


async def test_the_same_call_many_times_in_one_answer_is_no_repetition(
    client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    rolled: list[int] = []

    @tool
    async def roll_a_die() -> int:
        """Roll a die."""
        rolled.append(4)
        return 4

    for _ in range(2):
        fake.reply(tool_calls=[call("roll_a_die") for _ in range(10)], reasoning="")
    fake.reply("Twenty fours.")
    done = await run_tools(
        client, model=MODEL, messages=ASKED, tools=[roll_a_die], parallel=1, remind_after=1, max_repeats=2
    )
    assert (done.reason, len(rolled)) == ("answered", 20)
    assert ["Reminder" in told for told in answers(done.messages)] == [False] * 10 + [True] * 10

    fake.reply(tool_calls=[call("roll_a_die")], reasoning="")
    done = await run_tools(client, model=MODEL, messages=done.messages, tools=[roll_a_die], max_repeats=2)
    assert (done.reason, len(rolled)) == ("repeated_calls", 20), "two answers in the messages have called it"


async def test_repeated_calls_are_counted_since_the_user_spoke(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    for _ in range(2):
        fake.reply(tool_calls=[call("double", number=1)], reasoning="")
    done = await run_tools(client, model=MODEL, messages=ASKED, tools=[double], max_steps=2, max_repeats=1)
    assert done.reason in ("repeated_calls", "max_steps")

    fake.reset()
    fake.reply(tool_calls=[call("double", number=1)], reasoning="")
    done = await run_tools(client, model=MODEL, messages=done.messages, tools=[double], max_repeats=1)
    assert (done.reason, done.steps) == ("repeated_calls", 1)

    fake.reply(tool_calls=[call("double", number=1)], reasoning="")
    fake.reply("Two again.")
    messages = [*done.messages, {"role": "user", "content": "Once more."}]
    done = await run_tools(client, model=MODEL, messages=messages, tools=[double], max_repeats=1)
    assert done.reason == "answered"


async def test_bounds_can_be_lifted(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    for _ in range(12):
        fake.reply(tool_calls=[{"name": "shout", "arguments": '{"text":', "id": ""}], reasoning="")
    fake.reply("Enough.")
    done = await run_tools(
        client, model=MODEL, messages=ASKED, tools=[shout], remind_after=None, max_repeats=None, timeout=None
    )
    assert done.reason == "answered"
    ids = [message["tool_call_id"] for message in done.messages if message["role"] == "tool"]
    assert len(set(ids)) == 12
    assert all(ids)


async def test_a_choice_that_forces_a_call_is_meant_once(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    fake.reply(tool_calls=[call("double", number=1)], reasoning="")
    fake.reply("Two.")
    await run_tools(client, model=MODEL, messages=ASKED, tools=[double], tool_choice="required")
    assert [sent(fake, place).get("tool_choice") for place in range(2)] == ["required", None]

    fake.reply("No tool.")
    await run_tools(client, model=MODEL, messages=ASKED, tools=[double], tool_choice="none")
    assert sent(fake)["tool_choice"] == "none"


# --- Answers that are cut


async def test_half_a_call_is_never_run(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    fake.reply(tool_calls=[{"name": "double", "arguments": '{"number": 2', "id": "d"}], finish_reason="length")
    run = run_tools(client, model=MODEL, messages=ASKED, tools=[double])
    assert (await anext(run)).type == "usage"
    with pytest.raises(LengthFinishReasonError, match="in the middle of a call") as caught:
        await anext(run)
    assert run.messages == ASKED
    assert caught.value.completion is not None
    assert run.usage is not None


@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_calls_that_had_begun_before_an_answer_was_cut_stay_with_their_answers(
    client: AsyncMoonshot, fake: FakeMoonshot, reason: str
) -> None:
    fake.reply(
        tool_calls=[call("double", "a", number=1), {"name": "double", "arguments": '{"numb', "id": "b"}],
        reasoning="Two calls.",
        finish_reason=reason,
    )
    run = run_tools(client, model=MODEL, messages=ASKED, tools=[double])
    with pytest.raises((LengthFinishReasonError, ContentFilterFinishReasonError)) as caught:
        await run
    assert ("content filter" in str(caught.value)) == (reason == "content_filter")
    assert [made["id"] for made in run.messages[1]["tool_calls"]] == ["a"]
    assert answers(run.messages) == ["2"]
    assert await _is_valid(client, fake, run.messages)


async def test_an_answer_that_is_cut_behind_its_last_call_goes_on(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    fake.reply(tool_calls=[call("double", number=1)], reasoning="", finish_reason="length")
    fake.reply("Two.")
    done = await run_tools(client, model=MODEL, messages=ASKED, tools=[double])
    assert (done.reason, done.text) == ("answered", "Two.")


@pytest.mark.parametrize(
    ("text", "reasoning", "finish", "reason", "kept"),
    [
        ("Half an ans", None, "length", "length", True),
        ("", "All of it went into thought", "length", "length", True),
        ("", "", "length", "length", False),
        ("Something ba", None, "content_filter", "content_filter", False),
        ("", "I say nothing", "stop", "empty", True),
        ("", None, "stop", "empty", False),
        ("Fine.", None, "something_new", "answered", True),
    ],
)
async def test_how_an_answer_ended_is_told(
    client: AsyncMoonshot,
    fake: FakeMoonshot,
    text: str,
    reasoning: str | None,
    finish: str,
    reason: str,
    kept: bool,
) -> None:
    fake.reply(text, reasoning=reasoning, finish_reason=finish)
    done = await run_tools(client, model=MODEL, messages=ASKED, tools=[double])
    assert done.reason == reason
    assert done.completion is not None
    assert (len(done.messages) == 2) == kept == (done.message is not None)
    assert await _is_valid(client, fake, done.messages)


async def test_an_error_of_the_api_is_raised_and_the_messages_stay_valid(
    client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    fake.reply(tool_calls=[call("double", number=1)], reasoning="")
    fake.fail(400, message="no more")
    fake.reply("Two.")
    run = run_tools(client, model=MODEL, messages=ASKED, tools=[double])
    with pytest.raises(BadRequestError, match="no more"):
        await run
    assert answers(run.messages) == ["2"]
    assert run.done is None
    assert [event async for event in run] == []
    with pytest.raises(RuntimeError, match="before it was done"):
        await run
    done = await run_tools(client, model=MODEL, messages=run.messages, tools=[double])
    assert done.text == "Two."


async def test_a_stream_that_breaks_off_leaves_what_was_complete(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    ran: list[int] = []

    @tool
    async def note(n: int) -> str:
        """Take a note."""
        ran.append(n)
        return f"noted {n}"

    frames = _frames_of(tool_calls=[call("note", "a", n=1), call("note", "b", n=2)], reasoning="Hm.")
    second = next(place for place, frame in enumerate(frames) if b'"id":"b"' in frame)
    cut = _streaming(frames[: second + 1])
    async with AsyncMoonshot(api_key=CANARY_KEY, transport=MemoryTransport(cut), max_retries=0) as other:
        run = run_tools(other, model=MODEL, messages=ASKED, tools=[note])
        with pytest.raises(StreamInterruptedError):
            await run
    assert ran == [1]
    assert answers(run.messages) == ["noted 1"]
    assert run.messages[1]["reasoning_content"] == "Hm."
    assert await _is_valid(client, fake, run.messages)


async def test_a_stream_that_breaks_off_in_its_text_is_resumed(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    fake.cut_stream(8)
    events = await events_of(run_tools(client, model=MODEL, messages=ASKED, tools=[double], resume=1))
    assert "stream.resumed" in kinds(events)
    assert events[-1].type == "done"
    assert events[-1].reason == "answered"


# --- What is refused before anything is sent


@pytest.mark.parametrize(
    ("problem", "options"),
    [
        ("tools must be a list", {"tools": "$web_search"}),
        ("tools must be a list", {"tools": {"type": "function"}}),
        ("tools must be a list", {"tools": 5}),
        ("is no tool", {"tools": ["web_search"]}),
        ("two tools are called 'double'", {"tools": [double, double]}),
        ("nothing runs the tool 'f'", {"tools": [{"type": "function", "function": {"name": "f"}}]}),
        ("a tool has the form", {"tools": [{"type": "function"}]}),
        ("a tool is what @tool makes", {"tools": [5]}),
        ("max_steps must be 1 or more", {"max_steps": 0}),
        ("max_steps must be a whole number", {"max_steps": 1.5}),
        ("parallel must be a whole number", {"parallel": True}),
        ("max_tokens must be 1 or more", {"max_tokens": -1}),
        ("remind_after must be", {"remind_after": 0}),
        ("max_repeats must be", {"max_repeats": 0}),
        ("max_cost must be above 0", {"max_cost": 0}),
        ("max_cost must be above 0", {"max_cost": Decimal("nan")}),
        ("max_cost must be a number", {"max_cost": "1"}),
        ("timeout must be above 0", {"timeout": 0}),
        ("timeout must be a number", {"timeout": "1"}),
        ("handler must be a function", {"handler": 3}),
        ("approve must be a function or None, not bool", {"approve": True}),
        ("messages must not be empty", {"messages": []}),
        ("messages must be a list", {"messages": "Hi"}),
        ("must not be partial", {"messages": [*ASKED, {"role": "assistant", "content": "A", "partial": True}]}),
        ("leave n out", {"n": 2}),
        ("leave n out", {"extra_body": {"n": 2}}),
        ("messages in extra_body", {"extra_body": {"messages": []}}),
        ("unexpected keyword argument 'modell'", {"modell": "x"}),
        ("unexpected keyword argument 'stream'", {"stream": True}),
        ("resume must be", {"resume": -1}),
    ],
)
async def test_what_cannot_work_is_told_before_anything_is_sent(
    client: AsyncMoonshot, fake: FakeMoonshot, problem: str, options: dict[str, Any]
) -> None:
    with pytest.raises((TypeError, ConfigurationError)) as caught:
        run_tools(client, **{"model": MODEL, "messages": ASKED, **options})
    assert problem in str(caught.value)
    assert not fake.requests


async def test_a_strict_definition_is_checked_before_anything_is_sent(
    client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    function = {"name": "f", "strict": True, "parameters": {"type": "array"}}
    with pytest.raises(SchemaError):
        run_tools(
            client,
            model=MODEL,
            messages=ASKED,
            tools=[{"type": "function", "function": function}],
            handler=lambda request: "",
        )


async def test_a_request_that_cannot_be_sent_any_more_shows_no_conversation(
    client: AsyncMoonshot, fake: FakeMoonshot
) -> None:
    extra_body: dict[str, object] = {}

    @tool
    async def spoil() -> str:
        """Spoil the next request."""
        extra_body["x"] = float("nan")
        return "spoilt"

    fake.reply(tool_calls=[call("spoil")], reasoning="")
    run = run_tools(client, model=MODEL, messages=ASKED, tools=[spoil], extra_body=extra_body)
    with pytest.raises(ConfigurationError, match="no number for"):
        await run
    assert answers(run.messages) == ["spoilt"]


async def test_nothing_of_a_conversation_is_shown(client: AsyncMoonshot, fake: FakeMoonshot) -> None:
    fake.reply(tool_calls=[call("shout", text=CANARY_PROMPT)], reasoning="")
    fake.reply("Hi.")
    run = run_tools(client, model=MODEL, messages=ASKED, tools=[shout], context=CANARY_PROMPT)
    shown = [repr(run)]
    shown += [repr(event) async for event in run if event.type not in ("content.delta", "reasoning.delta")]
    shown.append(repr(run))
    assert CANARY_PROMPT not in "".join(shown)
    assert "shout" in "".join(shown)


# --- Helpers


async def _is_valid(client: AsyncMoonshot, fake: FakeMoonshot, messages: list[dict[str, Any]]) -> bool:
    """Whether the fake accepts a conversation; raises where not."""
    fake.reset()
    fake.reply("Valid.")
    for model in ("kimi-k2.6", MODEL):
        await client.chat.completions.create(model=model, messages=messages)
    return True


def _frames_of(**reply: Any) -> list[bytes]:
    """The frames in which the fake streams an answer."""
    from moonshot_async.fake import shapes
    from moonshot_async.fake.answers import Answer

    fake = FakeMoonshot()
    fake.reply(**reply)
    answer = fake._queue[0].outcome
    assert isinstance(answer, Answer)
    head = {"id": "c", "created": 1, "model": MODEL}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    return [*shapes.chunks(head, [answer], usage, include_usage=True), shapes.DONE]


def _streaming(frames: list[bytes]) -> Callable[[Any], Awaitable[Any]]:
    """A service that answers with these frames, and no more."""
    from moonshot_async import Response

    async def answer(request: Any) -> Response:
        return Response(200, [("Content-Type", "text/event-stream")], b"".join(frames))

    return answer


def _without_usage(fake: FakeMoonshot) -> Callable[[Any], Awaitable[Any]]:
    """The fake, but for what it tells of tokens."""
    from moonshot_async import Response

    async def answer(request: Any) -> Response:
        response = await fake(request)
        lines = []
        for frame in (await response.read()).split(b"\n\n"):
            if frame.startswith(b"data: {"):
                chunk = json.loads(frame[6:])
                chunk.pop("usage", None)
                for choice in chunk["choices"]:
                    choice.pop("usage", None)
                frame = b"data: " + json.dumps(chunk).encode()
            lines.append(frame)
        return Response(200, response.headers, b"\n\n".join(lines))

    return answer
