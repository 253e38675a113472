"""`@tool`: a typed Python function as a tool for a model."""

import copy
import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any, Concatenate, Generic, NamedTuple, ParamSpec, TypeVar, Unpack, overload

from moonshot_async.errors import ConfigurationError
from moonshot_async.toolkit.functions.arguments import Arguments
from moonshot_async.toolkit.functions.context import Approve, ToolContext
from moonshot_async.toolkit.functions.docstrings import documentation
from moonshot_async.toolkit.functions.options import (
    MAX_RESULT_CHARS,
    Options,
    ToolOptions,
    check_callable,
    checked_name,
)
from moonshot_async.toolkit.functions.parameters import struct_of
from moonshot_async.toolkit.functions.results import result_text
from moonshot_async.toolkit.functions.running import blocks, run_function
from moonshot_async.toolkit.functions.signatures import (
    Signature,
    UnknownNameError,
    definition_of,
    inner_of,
    names_around,
    signature_of,
    takes_instance,
)
from moonshot_async.types.chat_messages import ToolParam

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
S = TypeVar("S")


class _Shape(NamedTuple):
    """What a model fills in, and how it is read."""

    signature: Signature
    arguments: Arguments


class _Ready(functools.partial[Any]):
    """A call that has all it needs; no frame of ours and no `repr` shows with what."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<a call of a tool>"


class Tool(Generic[P, R_co]):
    """A function that a model may call, made by `tool`.

    It is still the function: called with its arguments it does what it did, with its types. In a class it is a method.

    Attributes:
        name: how the model calls it.
        description: what the model is told of it; None for nothing.
        timeout, approve, max_result_chars: see `ToolOptions`.
    """

    def __init__(self, function: Callable[P, R_co], options: Options, names: Mapping[str, Any]) -> None:
        function = function.__wrapped__ if isinstance(function, Tool) else function
        inner = inner_of(function)
        check_callable(inner)
        functools.update_wrapper(self, function, updated=())
        definition = definition_of(function)
        described = documentation(inner.__doc__ if inspect.isroutine(inner) else definition.__doc__ or inner.__doc__)
        self.name: str = checked_name(inner, options.name)
        self.description: str | None = options.description or described.description or None
        options.check(self.name)
        self.timeout: float | None = options.timeout
        self.approve: Approve | bool | None = options.approve
        self.max_result_chars: int | None = options.max_result_chars
        self.__wrapped__: Any = function
        self.__isabstractmethod__: bool = getattr(function, "__isabstractmethod__", False)
        self._options = options
        self._texts = described.parameters
        self._names = names
        self._static = isinstance(function, staticmethod)
        self._bound = False
        self._takes_instance = takes_instance(function, self.name)
        self._threaded = blocks(inner)
        # Shared with what is bound from it; by whether the first parameter is an instance.
        self._shapes: dict[bool, _Shape] = {}
        if not self._threaded:
            # Since Python 3.12 an object can say that calling it gives a coroutine.
            getattr(inspect, "markcoroutinefunction", id)(self)
        if self._takes_instance is not None:
            try:
                self._shape()
                self._names = {}
            except UnknownNameError:
                pass  # Perhaps it is known when it is needed.

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function itself: with Python values, without checks, in this thread, without a timeout."""
        result: R_co = self.__wrapped__(*args, **kwargs)
        return result

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> "Tool[P, R_co]": ...

    @overload
    def __get__(self: "Tool[Concatenate[S, Q], R_co]", instance: S, owner: type | None = None) -> "Tool[Q, R_co]": ...

    def __get__(self, instance: Any, owner: type | None = None) -> "Tool[Any, R_co]":
        bind = getattr(type(self.__wrapped__), "__get__", None)
        of_class = isinstance(self.__wrapped__, classmethod)
        if bind is None or self._static or (instance is None and not of_class):
            return self
        twin: Tool[Any, R_co] = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.__wrapped__ = bind(self.__wrapped__, instance, owner)
        twin._bound = True
        return twin

    @property
    def param(self) -> ToolParam:
        """The definition, for `tools=` of `create()`: name, description and parameters in Moonshot's dialect, strict.

        Raises:
            ConfigurationError: this is a method that was not taken from an instance; or a type that was not known when
                the function was decorated is not known now either.

        See: https://platform.kimi.ai/docs/api/chat
        """
        self._check_bound()
        described: dict[str, Any] = {} if self.description is None else {"description": self.description}
        parameters = copy.deepcopy(self._shape().arguments.schema)
        function: Any = {"name": self.name, **described, "parameters": parameters, "strict": True}
        return {"type": "function", "function": function}

    async def call(self, arguments: str, *, context: Any = None) -> str:
        """Call the function as a model asks for it, and return what the model is to be told.

        Nobody is asked for approval: whoever calls this has decided.

        Args:
            arguments: JSON, as the model wrote it; nothing at all for none.
            context: what the function gets as its `ToolContext`: one, or a value to be put into one.

        Raises:
            ToolArgumentsError: the arguments do not fit.
            ToolTimeoutError: the function took longer than `timeout`.
            ToolCancelledError: the function was cancelled from within, and not by whoever waits for this call.
            APITimeoutError: a `with client.deadline(…)` around the call ended first.
            ConfigurationError: this is a method that was not taken from an instance.
            TypeError: the result cannot be told to a model.
            Exception: whatever the function raises. `KeyboardInterrupt` and `SystemExit` pass through as well.
        """
        self._check_bound()
        ready = self._ready(arguments, context)
        # Whatever the function raises shows the locals of this frame.
        del arguments, context
        result = await run_function(ready, threaded=self._threaded, tool=self.name, timeout=self.timeout)
        return result_text(result, self.name, self.max_result_chars)

    def _check_bound(self) -> None:
        if self._takes_instance and not self._bound:
            raise ConfigurationError(f"{self.name} is a method: take the tool from an instance")

    def _ready(self, arguments: str, context: Any) -> Callable[[], Any]:
        """The call, with all that it needs."""
        (parameters, order, place), reader = self._shape()
        values = reader.decode(arguments)
        if place is not None:
            values[place] = context if isinstance(context, ToolContext) else ToolContext(context, tool_name=self.name)
        defaults = {one.name: one.default for one in parameters}
        args = [values.pop(name) if name in values else defaults[name] for name in order]
        return _Ready(self.__wrapped__, *args, **values)

    def _shape(self) -> _Shape:
        method = self._bound or bool(self._takes_instance)
        if method not in self._shapes:
            function = self.__wrapped__.__func__ if self._bound else self.__wrapped__
            if isinstance(function, (classmethod, staticmethod)):
                function = function.__func__
            signature = signature_of(function, self.name, self._names, method=method)
            struct, schema = struct_of(self.name, signature.parameters, self._texts)
            self._shapes[method] = _Shape(signature, Arguments(self.name, signature.parameters, struct, schema))
        return self._shapes[method]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tool):
            return NotImplemented
        return bool(self.__wrapped__ == other.__wrapped__) and self._options == other._options

    def __hash__(self) -> int:
        return hash((Tool, self.name))

    def __repr__(self) -> str:
        return f"<Tool {self.name}>"

    def __reduce__(self) -> "str | tuple[Any, ...]":
        """As the function: by the name under which it is found, a method with its instance."""
        if self._bound:
            return getattr, (self.__wrapped__.__self__, self.__wrapped__.__name__)
        found: Any = sys.modules.get(self.__module__)
        qualname = getattr(self, "__qualname__", "")
        for step in qualname.split("."):
            found = getattr(found, step, None)
        return qualname if found is self else (_again, (self.__wrapped__, self._options))


@overload
def tool(function: Callable[P, R], /, **options: Unpack[ToolOptions]) -> Tool[P, R]: ...


@overload
def tool(**options: Unpack[ToolOptions]) -> Callable[[Callable[P, R]], Tool[P, R]]: ...


def tool(
    function: Any = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    timeout: float | None = None,
    approve: Approve | bool | None = None,
    max_result_chars: int | None = MAX_RESULT_CHARS,
) -> Any:
    """Make a tool of a function: `@tool`, `@tool(timeout=10)`, or `tool(function)`.

    The function may be async. If it is not it runs in a thread when a model calls it, so it may block, and has to be
    fit for threads. Every parameter needs a type that msgspec reads from JSON, or pydantic, where it is installed: a
    model that has to guess the type guesses wrong. What the docstring says of parameters (in the style of Google, NumPy
    or Sphinx) goes to the model, and so does a text in `Annotated[…, "text"]`, which comes first. A parameter of type
    `ToolContext` is filled in at the call, and not shown to the model.

    Args:
        function: a function, a method, a `functools.partial`, or an object that can be called. What a partial fixes by
            name is not shown to the model. Of a tool it is the function, with these options alone.
        name, description, timeout, approve, max_result_chars: see `ToolOptions`.

    Raises:
        ConfigurationError: the name is none that the API takes, a parameter has no type or one without a schema, there
            are `*args` or `**kwargs`, or an option cannot be; names what it is, and what to do.

    See: https://platform.kimi.ai/docs/guide/use-kimi-api-to-complete-tool-calls
    """
    options = Options(name, description, timeout, approve, max_result_chars)
    if function is not None:
        return Tool(function, options, names_around(sys._getframe(1)))
    return lambda function: Tool(function, options, names_around(sys._getframe(1)))


def _again(function: Any, options: Options) -> Tool[..., Any]:
    return Tool(function, options, {})
