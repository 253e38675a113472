"""The types of tools that callers see; never run, only read by mypy."""

from collections.abc import Coroutine
from decimal import Decimal
from typing import Any, Literal, assert_type

from moonshot_async import AsyncMoonshot
from moonshot_async.errors import ToolArgumentsError, ToolCancelledError, ToolTimeoutError
from moonshot_async.toolkit.functions import (
    Approval,
    DoneEvent,
    Handler,
    RunEvent,
    Tool,
    ToolContext,
    ToolLike,
    ToolRequest,
    ToolRun,
    formula_tools,
    run_tools,
    tool,
)
from moonshot_async.types.chat_params import MessageParam, ToolParam


class Deps:
    user: str


@tool
async def get_weather(city: str, unit: Literal["C", "F"] = "C") -> str:
    return city


@tool(name="count", timeout=3, description="Counts.", max_result_chars=None)
def count(ctx: ToolContext[Deps], words: list[str], *, twice: bool = False) -> int:
    assert_type(ctx.context, Deps)
    assert_type(ctx.context.user, str)
    assert_type(ctx.call_id, str)
    assert_type(ctx.tool_name, str)
    assert_type(ctx.step, int)
    return len(words)


async def approve(request: ToolRequest) -> Approval:
    assert_type(request.name, str)
    assert_type(request.arguments, str)
    return request.name == "count" or "not today"


@tool(approve=approve)
def dangerous() -> None: ...


@tool(approve=lambda request: request.step < 3)
def harmless() -> None: ...


class Desk:
    @tool
    async def look_up(self, key: str) -> bytes:
        return key.encode()

    @tool(timeout=1)
    def close(self) -> None: ...


def plain(x: int) -> float:
    return x


async def functions(context: ToolContext[Deps]) -> None:
    await assert_type(get_weather("Oslo", unit="F"), Coroutine[Any, Any, str])
    assert_type(await get_weather(city="Oslo"), str)
    assert_type(count(context, ["a"], twice=True), int)
    assert_type(tool(plain)(3), float)
    assert_type(tool(plain, name="other")(3), float)
    await get_weather(3)  # type: ignore[arg-type]  # no text
    await get_weather("Oslo", unit="K")  # type: ignore[arg-type]  # no such unit
    await get_weather("Oslo", units="C")  # type: ignore[call-arg]  # misspelt
    count(["a"])  # type: ignore[call-arg, arg-type]  # without a context


async def methods(desk: Desk) -> None:
    assert_type(await desk.look_up("a"), bytes)
    assert_type(await Desk.look_up(desk, "a"), bytes)
    assert_type(desk.close(), None)
    assert_type(await desk.look_up.call("{}", context=3), str)
    await desk.look_up(3)  # type: ignore[arg-type]  # no text
    await desk.look_up()  # type: ignore[call-arg]  # no key
    desk.close(1)  # type: ignore[call-arg]  # too many


async def tools(client: AsyncMoonshot, desk: Desk) -> None:
    assert_type(get_weather.name, str)
    assert_type(get_weather.description, str | None)
    assert_type(get_weather.timeout, float | None)
    assert_type(get_weather.param, ToolParam)
    listed: list[Tool[..., Any]] = [get_weather, count, desk.look_up, tool(plain)]
    messages: list[MessageParam] = [{"role": "user", "content": "Hi"}]
    await client.chat.completions.create(model="m", messages=messages, tools=[one.param for one in listed])
    tool(plain, nmae="x")  # type: ignore[call-overload]  # misspelt
    tool(3)  # type: ignore[call-overload]  # no function


async def runs(client: AsyncMoonshot, desk: Desk, handler: Handler) -> None:
    messages = [{"role": "user", "content": "Hi"}]
    hosted = await formula_tools(client, "moonshot/date:latest")
    listed: list[ToolLike] = [get_weather, plain, desk.look_up, "$web_search", get_weather.param, *hosted]
    run = run_tools(client, model="m", messages=messages, tools=listed, handler=handler, approve=approve, temperature=1)
    async for event in assert_type(run, ToolRun):
        assert_type(event, RunEvent)
        if event.type == "content.delta":
            assert_type(event.delta, str)
        elif event.type == "tool.started":
            assert_type(event.cancel(), bool)
        elif event.type == "tool.failed":
            assert_type(event.error, Exception | None)
        elif event.type == "usage":
            assert_type(event.total_cost, Decimal | None)
        elif event.type == "done":
            assert_type(event.messages, list[dict[str, Any]])
    completion = await client.chat.completions.create(model="m", messages=messages)
    more = run_tools(client, model="m", messages=[*run.messages, completion.choices[0].message], tools=[lambda x: x])
    assert_type(await more, DoneEvent)
    await run_tools(client, model="m", messages=messages, tools=[3])  # type: ignore[list-item]  # no tool


def failures(error: Exception) -> None:
    if isinstance(error, ToolArgumentsError):
        assert_type(error.tool, str)
        assert_type(error.text, str)
        assert_type(error.path, str | None)
    if isinstance(error, (ToolTimeoutError, ToolCancelledError)):
        assert_type(error.tool, str)
    if isinstance(error, ToolTimeoutError):
        assert_type(error.seconds, float)
