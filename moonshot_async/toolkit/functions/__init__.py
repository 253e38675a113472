"""Tools: Python functions that a model may call.

    @tool(timeout=10)
    async def get_weather(city: str, unit: Literal["C", "F"] = "C") -> str:
        \"""The weather in a city at this moment.

        Args:
            city: its English name.
        \"""
        return await service.weather(city, unit)

    get_weather.param                                      # the definition, for `tools=` of `create()`
    await get_weather.call('{"city": "Oslo"}')             # one call as a model asks for it, answered in text
    await get_weather("Oslo")                              # still the function

    run = run_tools(client, model="kimi-k2.6", messages=messages, tools=[get_weather])
    async for event in run:                                # text as it comes, and what tools do meanwhile
        ...
    run.messages                                           # what was said, to be saved and continued

See: https://platform.kimi.ai/docs/guide/use-kimi-api-to-complete-tool-calls
"""

from moonshot_async.toolkit.functions.context import Approval, Approve, ToolContext, ToolRequest
from moonshot_async.toolkit.functions.loop import ToolRun, run_tools
from moonshot_async.toolkit.functions.loop.events import (
    DoneEvent,
    DoneReason,
    FailureReason,
    MessageEvent,
    RunEvent,
    StepUsageEvent,
    ToolFailedEvent,
    ToolFinishedEvent,
    ToolStartedEvent,
)
from moonshot_async.toolkit.functions.loop.formulas import FormulaTool, formula_tools
from moonshot_async.toolkit.functions.loop.runners import Handler, ToolLike
from moonshot_async.toolkit.functions.options import ToolOptions
from moonshot_async.toolkit.functions.tools import Tool, tool

__all__ = [
    "Approval",
    "Approve",
    "DoneEvent",
    "DoneReason",
    "FailureReason",
    "FormulaTool",
    "Handler",
    "MessageEvent",
    "RunEvent",
    "StepUsageEvent",
    "Tool",
    "ToolContext",
    "ToolFailedEvent",
    "ToolFinishedEvent",
    "ToolLike",
    "ToolOptions",
    "ToolRequest",
    "ToolRun",
    "ToolStartedEvent",
    "formula_tools",
    "run_tools",
    "tool",
]
