"""`run_tools`: ask a model, run the tools that it calls, and go on until it answers.

    run = run_tools(client, model="kimi-k3", messages=messages, tools=[get_weather])
    async for event in run:
        if event.type == "content.delta":
            print(event.delta, end="")

`events.py` has the events. The way of a run: `loop.py` goes through the steps, `step.py` reads an answer and finds the
calls in it (`calls.py`), `running.py` runs them with what `runners.py` has, `history.py` keeps the conversation valid,
`limits.py` and `repeats.py` end it, and `outbox.py` hands the events to the `ToolRun` of `run.py`.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from moonshot_async.errors import ConfigurationError
from moonshot_async.redaction import forget_locals
from moonshot_async.resources.call import Given
from moonshot_async.toolkit.functions.context import Approve
from moonshot_async.toolkit.functions.loop.history import History, Message
from moonshot_async.toolkit.functions.loop.limits import Limits, Spent, money, seconds, whole
from moonshot_async.toolkit.functions.loop.loop import Loop
from moonshot_async.toolkit.functions.loop.outbox import Outbox
from moonshot_async.toolkit.functions.loop.repeats import Repeats
from moonshot_async.toolkit.functions.loop.run import ToolRun
from moonshot_async.toolkit.functions.loop.runners import Handler, Toolbox, ToolLike
from moonshot_async.toolkit.functions.loop.running import Rules, Running
from moonshot_async.types.chat_messages import ChatMessage
from moonshot_async.types.encoding import NOT_GIVEN

if TYPE_CHECKING:
    from moonshot_async.catalog import CacheTtl
    from moonshot_async.chat_stream import ChatStreamManager
    from moonshot_async.client import AsyncMoonshot

__all__ = ["ToolRun", "run_tools"]

_PARALLEL: Final = 8
_TIMEOUT: Final = 60.0
_MAX_STEPS: Final = 25
_REMIND_AFTER: Final = 2
_MAX_REPEATS: Final = 7


def run_tools(
    client: "AsyncMoonshot",
    *,
    model: str,
    messages: Iterable[ChatMessage],
    tools: Iterable[ToolLike] = (),
    context: Any = None,
    handler: Handler | None = None,
    approve: Approve | None = None,
    parallel: int = _PARALLEL,
    timeout: float | None = _TIMEOUT,
    max_steps: int = _MAX_STEPS,
    max_tokens: int | None = None,
    max_cost: Decimal | float | None = None,
    remind_after: int | None = _REMIND_AFTER,
    max_repeats: int | None = _MAX_REPEATS,
    show_tracebacks: bool = False,
    **params: Any,
) -> ToolRun:
    """Ask a model, run the tools that it calls, and go on until it answers: `async for event in run_tools(…)`.

    Tools begin as soon as their call is complete, while the answer still arrives, and run at the same time. One that
    raises, takes too long or is cancelled becomes an answer to the model; the others go on. Where the API fails, the
    error is raised from the loop over the run; `run.messages` stays valid, and another run goes on from it: calls at
    its end that have no answer are run first.

    Args:
        client: asks.
        model: the id of the model.
        messages: the conversation so far; copied. `run.messages` is what becomes of it.
        tools: what `@tool` made, typed functions, `"$web_search"`, `*await formula_tools(client, …)`, or plain
            definitions, whose calls `handler` runs.
        context: given to tools that want a `ToolContext`, and to `approve` and `handler`.
        handler: runs calls of plain definitions; gets a `ToolRequest`. What it returns is told to the model, as text
            or as JSON. A function that is not async is called in a worker thread; so is `approve`.
        approve: asked before each call, one question after the other, with a `ToolRequest`: True lets it go on, False
            refuses it, and so does a text, which tells the model why. A tool's own counts instead.
        parallel: how many tools run at once.
        timeout: seconds for each call of a tool; a tool's own counts instead. None for no limit. The clocks of the
            requests are the client's: `client.with_options(timeout=…)`.
        max_steps: how many requests are sent at most. In the last of several the model is told to call no tool
            (`tool_choice="none"`, which every model takes), so that it ends in an answer. 1 is a single step: what it
            calls is run, and a run from its messages goes on.
        max_tokens: of all steps together, prompts included; looked at between steps, whose calls are run to their end.
            What one answer may take is `max_completion_tokens`.
        max_cost: the same in money, in the currency of the account; without the fees of formulas.
        remind_after: how often the same tool may be called with the same arguments before the model is reminded in the
            answer, since the user spoke last; calls in one answer count as one. None for never.
        max_repeats: how often the same call is run; with one more the run stops. None for no limit.
        show_tracebacks: tell the model where a tool raised, too.
        **params: as for `client.chat.completions.stream`, `resume` and a `response_format` that is a type included.
            A `tool_choice` that forces a call counts for the first step only.

    Raises:
        TypeError: a keyword does not exist, or a value is of another kind; before any I/O.
        ConfigurationError: something cannot work; before any I/O. So is `max_cost` where the catalog has no price.

    See: https://platform.kimi.ai/docs/guide/use-tool-calls
    """
    try:
        limits = Limits(
            whole(max_steps, "max_steps"),
            None if max_tokens is None else whole(max_tokens, "max_tokens"),
            money(max_cost, "max_cost"),
        )
        rules = Rules(context, approve, whole(parallel, "parallel"), seconds(timeout, "timeout"), bool(show_tracebacks))
        toolbox = Toolbox(tools, handler, approve)
        history = History(messages)
        repeats = Repeats(
            None if remind_after is None else whole(remind_after, "remind_after"),
            None if max_repeats is None else whole(max_repeats, "max_repeats"),
            history.made_calls(),
        )
        return _run(client, model, history, toolbox, rules, limits, repeats, Given(params))
    except Exception as error:
        forget_locals(error)
        raise
    finally:
        # Error trackers record the locals of frames: what is asked is kept where it is not shown.
        params.clear()
        del messages, context


def _run(
    client: "AsyncMoonshot",
    model: str,
    history: History,
    toolbox: Toolbox,
    rules: Rules,
    limits: Limits,
    repeats: Repeats,
    params: Given,
) -> ToolRun:
    _check(params)
    choice: dict[str, Any] = {}
    if (chosen := params.pop("tool_choice", NOT_GIVEN)) is not NOT_GIVEN:
        choice["tool_choice"] = chosen
    # Other hosts tell it only when asked.
    params.setdefault("stream_options", {"include_usage": True})
    if toolbox.params:
        params["tools"] = toolbox.params

    def ask(asked: list[Message], more: Mapping[str, Any]) -> "ChatStreamManager[Any]":
        try:
            return client.chat.completions.stream(**{"model": model, **params, **more, "messages": asked})
        finally:
            del asked

    # What is wrong with the keywords is told now.
    ask(history.messages(), choice)
    options = params.get("prompt_cache_options")
    ttl: CacheTtl = options.get("ttl", "5m") if isinstance(options, Mapping) else "5m"
    thinking = params.get("thinking")
    outbox, spent = Outbox(), Spent(client, model, limits, ttl)
    running = Running(toolbox, rules, repeats, history.so_far, outbox.put)
    loop = Loop(
        ask,
        choice,
        history,
        running,
        repeats,
        spent,
        outbox,
        thinks=not (isinstance(thinking, Mapping) and thinking.get("type") == "disabled"),
        has_tools=bool(toolbox.params),
    )
    return ToolRun(loop, history, running, spent, outbox)


def _check(params: Mapping[str, Any]) -> None:
    """Refuse keywords that a run cannot do anything with.

    Raises:
        ConfigurationError: names them.
    """
    extra_body = params.get("extra_body") or {}
    given = {**params, **(extra_body if isinstance(extra_body, Mapping) else {})}
    if given.get("n") not in (None, 1, NOT_GIVEN):
        raise ConfigurationError("a run goes on with one answer: leave n out")
    for name in ("messages", "tools", "tool_choice", "model"):
        if name in extra_body:
            raise ConfigurationError(f"{name} in extra_body would replace what the run sends: pass {name}= instead")
