"""What runs the calls: functions, formulas, the service's own search, and a handler for tools that are only schemas."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping
from inspect import isawaitable
from typing import Any, Final, Literal, Protocol, TypeAlias

import msgspec

from moonshot_async.errors import ConfigurationError
from moonshot_async.resources.schema_check import check_schemas
from moonshot_async.threads import in_daemon_thread
from moonshot_async.toolkit.functions.context import Approve, ToolContext, ToolRequest
from moonshot_async.toolkit.functions.loop.calls import Call
from moonshot_async.toolkit.functions.running import blocks
from moonshot_async.types.chat_params import WEB_SEARCH, CompletionRequest
from moonshot_async.types.encoding import plain, to_json

Handler: TypeAlias = Callable[[ToolRequest], Any]
"""Runs calls of tools that were given as schemas alone; what it returns is told to the model."""

_BUILTIN: Final = "builtin_function"


class Runnable(Protocol):
    """A tool of any kind. `timeout` (seconds), `approve` and `verbatim` are looked at where they are there."""

    @property
    def name(self) -> str:
        """How the model calls it."""
        ...

    @property
    def param(self) -> Any:
        """The definition for `tools=`."""
        ...

    def call(self, arguments: str, *, context: Any = None) -> Awaitable[str]:
        """Run one call: JSON as the model wrote it, to what the model is told."""
        ...


ToolLike: TypeAlias = Runnable | Mapping[str, Any] | Callable[..., Any] | str
"""What `tools=` of a run takes: what `@tool` made, any object like it, a typed function, `"$web_search"`, what
`formula_tools` returns, or a plain definition, whose calls `handler=` gets.
"""


class Runner(ABC):
    """Runs the calls of one tool.

    Attributes:
        name: how the model calls it.
        param: the definition that is sent.
        timeout: seconds for one call; None where the run decides.
        approve: what is asked before a call; None where the run decides, False where nobody is asked.
        verbatim: whether the model must get the result letter by letter.
    """

    def __init__(self, name: str, param: Any, *, verbatim: bool = False) -> None:
        self.name = name
        self.param = param
        self.timeout: float | None = None
        self.approve: Approve | Literal[False] | None = None
        self.verbatim = verbatim

    @abstractmethod
    async def run(self, call: Call, context: ToolContext[Any]) -> Any:
        """Run one call; gives what the model is told, as text or as JSON."""


class _Owned(Runner):
    """An object that runs its calls itself."""

    def __init__(self, tool: Runnable, approve: Approve | None) -> None:
        super().__init__(tool.name, tool.param, verbatim=bool(getattr(tool, "verbatim", False)))
        self.timeout = getattr(tool, "timeout", None)
        own = getattr(tool, "approve", None)
        if own is True and approve is None:
            raise ConfigurationError(f"the tool {tool.name!r} needs approval: give the run approve=")
        self.approve = own if callable(own) or own is False else None
        self._tool = tool

    async def run(self, call: Call, context: ToolContext[Any]) -> str:
        return await self._tool.call(call.arguments, context=context)


class _Builtin(Runner):
    """A function of the service, which wants its own arguments back.

    See: https://platform.kimi.ai/docs/guide/use-web-search
    """

    async def run(self, call: Call, context: ToolContext[Any]) -> str:
        return call.arguments


class _Handled(Runner):
    """A schema, whose calls are handed on."""

    def __init__(self, name: str, param: Any, handler: Handler) -> None:
        super().__init__(name, param)
        self._handler = handler

    async def run(self, call: Call, context: ToolContext[Any]) -> Any:
        return await asked(self._handler, request_of(call, context.context))


class Toolbox:
    """The tools of a run.

    Args:
        tools: see `ToolLike`.
        handler: runs calls of plain definitions.
        approve: what the run asks for approval, if anything.

    Attributes:
        params: their definitions as JSON, the same in each request, so that the service finds the prompt in its cache.

    Raises:
        TypeError: something is no tool, or no function.
        ConfigurationError: two tools have one name, nothing runs one, or nobody approves one that needs it.
        SchemaError: the API would refuse a schema that calls itself strict.
    """

    def __init__(self, tools: Iterable[ToolLike], handler: Handler | None, approve: Approve | None) -> None:
        if isinstance(tools, (str, Mapping)) or not isinstance(tools, Iterable):
            raise TypeError(f"tools must be a list of tools, not {type(tools).__name__}")
        for word, hook in (("handler", handler), ("approve", approve)):
            if hook is not None and not callable(hook):
                raise TypeError(f"{word} must be a function or None, not {type(hook).__name__}")
        self._runners: dict[str, Runner] = {}
        for one in tools:
            runner = _runner(one, handler, approve)
            if runner.name in self._runners:
                raise ConfigurationError(f"two tools are called {runner.name!r}: give one of them another name")
            self._runners[runner.name] = runner
        definitions = [runner.param for runner in self._runners.values()]
        check_schemas(CompletionRequest(model="", messages=[], tools=definitions))
        # As raw JSON: `stream()` would parse the arguments of strict tools itself, and raise for those that do not fit.
        self.params = [msgspec.Raw(to_json(definition)) for definition in definitions]

    def get(self, name: str) -> Runner | None:
        """What runs calls of this tool."""
        return self._runners.get(name)

    @property
    def names(self) -> list[str]:
        """Their names."""
        return list(self._runners)


def request_of(call: Call, context: Any) -> ToolRequest:
    """A call as hooks see it."""
    return ToolRequest(call.name, call.arguments, call.id, call.step, context)


async def asked(hook: Callable[[ToolRequest], Any], request: ToolRequest) -> Any:
    """Call a function of the user's: in a worker thread, if it is not async, so that it may ask at a terminal."""
    result = await in_daemon_thread(hook, request) if blocks(hook) else hook(request)
    return await result if isawaitable(result) else result


def _runner(one: Any, handler: Handler | None, approve: Approve | None) -> Runner:
    if isinstance(one, str):
        if one != "$web_search":
            raise ConfigurationError(f"{one!r} is no tool: text stands for '$web_search' only; see formula_tools")
        one = WEB_SEARCH
    if isinstance(one, Mapping):
        return _defined(one, handler)
    if callable(getattr(one, "call", None)) and hasattr(one, "param"):
        return _Owned(one, approve)
    if callable(one):
        # Imported late: functions that are tools already do not need it.
        from moonshot_async.toolkit.functions.tools import tool

        return _Owned(tool(one), approve)
    raise TypeError(f"a tool is what @tool makes, a typed function, or a definition, not {type(one).__name__}")


def _defined(definition: Mapping[str, Any], handler: Handler | None) -> Runner:
    function = definition.get("function")
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(name, str) or not name:
        raise ConfigurationError("a tool has the form {'type': 'function', 'function': {'name': …, 'parameters': …}}")
    if definition.get("type") == _BUILTIN:
        return _Builtin(name, plain(definition), verbatim=True)
    if handler is None:
        raise ConfigurationError(
            f"nothing runs the tool {name!r}: make it of a function with @tool, or pass handler=, which gets its calls"
        )
    return _Handled(name, plain(definition), handler)
