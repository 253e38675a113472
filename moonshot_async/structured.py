"""What of an answer is to be parsed, and how: the content into a type, the arguments of tool calls into theirs.

A type gives the schema that is sent, in Moonshot's dialect (`mfjs`), and validates what comes back: msgspec structs,
dataclasses and `TypedDict` through msgspec, models and dataclasses of pydantic, where it is there, through pydantic.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Final, Generic, TypeVar, cast

import msgspec

from moonshot_async.errors import (
    ContentFilterFinishReasonError,
    EmptyAnswerError,
    LengthFinishReasonError,
    StructuredOutputError,
)
from moonshot_async.types.chat import ChatCompletion
from moonshot_async.types.chat_params import ToolParam
from moonshot_async.types.encoding import NotGiven, is_type
from moonshot_async.types.json_text import without_fence
from moonshot_async.types.misfits import misfit_of
from moonshot_async.types.model import Model
from moonshot_async.types.parsed import ParsedChatCompletion, ParsedChatCompletionMessage, parsed_form

T = TypeVar("T")

_NO_NAME: Final = re.compile(r"[^A-Za-z0-9_-]+")
_NAME_CHARS: Final = 64


class AnswerType(Generic[T]):
    """A type that answers are made of: its name, its schema, and what makes a value of a JSON text.

    Raises:
        TypeError: it has no schema, or its values are no JSON objects.
    """

    def __init__(self, type_: type[T]) -> None:
        # Imported late: most programs parse nothing.
        from moonshot_async.mfjs import schema_of

        self.name = _name(type_)
        self.schema = schema_of(type_, root="object")
        self._validate: Callable[[str], T] = validator(type_)

    def parse(self, text: str) -> T:
        """Make a value of a JSON text.

        Raises:
            StructuredOutputError: it is no JSON, or no value of this type.
        """
        bare = without_fence(text)
        try:
            return self._validate(bare)
        except RecursionError:
            problem: tuple[str, str | None] = "it is nested too deeply", None
        except (ValueError, msgspec.DecodeError) as error:
            problem = misfit_of(error, bare)
        raise _misfit(self.name, *problem, text)


@lru_cache(maxsize=256)
def _known_type(type_: Any) -> AnswerType[Any]:
    return AnswerType(type_)


def answer_type(type_: Any) -> AnswerType[Any]:
    """The `AnswerType` of a type; made once for each, since schemas take their time."""
    try:
        hash(type_)
    except TypeError:  # `Annotated` holds what it was given
        return AnswerType(type_)
    return _known_type(type_)


class _TypedFunction(dict[str, Any]):
    """The `function` of a tool, which remembers the type of its arguments."""

    model: Any


def function_tool(type_: Any, *, name: str | None = None, description: str | None = None) -> ToolParam:
    """A tool whose arguments are a type, for `tools=`: its calls come back with `parsed_arguments` of that type.

    Args:
        type_: a `msgspec.Struct`, dataclass, `TypedDict`, or model or dataclass of pydantic.
        name: how the model calls it: letters, digits, `_` and `-`, a letter or `_` first; else the name of the type.
        description: what it is for, and when to call it; else the docstring of the type.

    Raises:
        TypeError: the type has no schema, or its values are no JSON objects.

    See: https://platform.kimi.ai/docs/api/chat
    """
    known = answer_type(type_)
    parameters = dict(known.schema)
    function = _TypedFunction(name=name or known.name, strict=True, parameters=parameters)
    function.model = type_
    if description is None:
        description = parameters.pop("description", None)
    if description is not None:
        function["description"] = description
    return cast("ToolParam", {"type": "function", "function": function})


def pydantic_function_tool(model: Any, *, name: str | None = None, description: str | None = None) -> ToolParam:
    """The same as `function_tool`, under the name that the openai package has for it."""
    return function_tool(model, name=name, description=description)


class Parsing(Generic[T]):
    """What of the answers to one request is to be parsed.

    Args:
        response_format: a type for the content; anything else is left to the server.
        tools: those of the request. The arguments of their calls are parsed where the tool remembers a type
            (`function_tool`), and to plain data where it says `strict: True`.

    Raises:
        TypeError: a type has no schema.
    """

    def __init__(self, response_format: object = msgspec.UNSET, tools: Iterable[Any] | NotGiven | None = None) -> None:
        self._answer: AnswerType[Any] | None = answer_type(response_format) if is_type(response_format) else None
        self._given = response_format
        self._tools: dict[str, AnswerType[Any] | None] = {}
        for function in _functions(tools):
            name, model = function.get("name"), getattr(function, "model", None)
            if isinstance(name, str) and (model is not None or function.get("strict") is True):
                self._tools[name] = None if model is None else answer_type(model)
        # Whether the content is to be parsed; and whether anything is, so that an answer that was cut is of no use.
        self.has_type = self._answer is not None
        self.asked = self.has_type or bool(self._tools)

    @property
    def response_format(self) -> Any:
        """What is sent as `response_format`."""
        if self._answer is None:
            return self._given
        schema = {"name": self._answer.name, "strict": True, "schema": self._answer.schema}
        return {"type": "json_schema", "json_schema": schema}

    def has_tool(self, name: str) -> bool:
        """Whether the arguments of a tool are to be parsed."""
        return name in self._tools

    def content(self, text: str | None, *, refused: bool, calls: bool) -> T | None:
        """Parse the content of a message.

        Args:
            text: the content.
            refused: whether there is a refusal; nothing is parsed then.
            calls: whether there are tool calls; what the model says beside them need not be an answer.

        Raises:
            EmptyAnswerError: there is none.
            StructuredOutputError: it is not of the type.
        """
        if self._answer is None or refused:
            return None
        if not text or not text.strip():
            if calls:
                return None
            raise EmptyAnswerError(
                f"The answer is empty, not a {self._answer.name}: the model may have spent all that "
                "max_completion_tokens allows on reasoning.",
                text=text or "",
            )
        try:
            value: T = self._answer.parse(text)
        except StructuredOutputError:
            if not calls:
                raise
            return None
        return value

    def arguments(self, name: str, text: str) -> Any:
        """Parse the arguments of a call of a tool; None where it is none to be parsed.

        Raises:
            StructuredOutputError: they are not of the type of the tool.
        """
        if name not in self._tools:
            return None
        # Tools without parameters are called with nothing at all by some hosts.
        text = text if text.strip() else "{}"
        known = self._tools[name]
        if known is not None:
            return known.parse(text)
        try:
            return msgspec.json.decode(text)
        except (ValueError, msgspec.DecodeError, RecursionError) as error:
            problem = misfit_of(error, text)
        raise _misfit(f"JSON value for the tool {name}", *problem, text)

    def completion(self, completion: ChatCompletion) -> ParsedChatCompletion[T]:
        """Parse a whole answer.

        Raises:
            LengthFinishReasonError: it was cut by `max_completion_tokens`.
            ContentFilterFinishReasonError: it was cut by moderation.
            StructuredOutputError: something in it is not of its type.
        """
        self.check_whole(completion)
        parsed = parsed_form(completion)
        if not self.asked:
            return parsed
        try:
            for choice in parsed.choices:
                self._message(choice.message)
        except StructuredOutputError as error:
            error.completion = completion
            raise
        return parsed

    def check_whole(self, completion: ChatCompletion) -> None:
        """Refuse an answer that was cut, where something of it was to be parsed; raises as `completion`."""
        if not self.asked:
            return
        for choice in completion.choices:
            if choice.finish_reason == "length":
                raise LengthFinishReasonError(completion=completion)
            if choice.finish_reason == "content_filter":
                raise ContentFilterFinishReasonError(completion=completion)

    def _message(self, message: ParsedChatCompletionMessage[Any]) -> None:
        calls = message.tool_calls or []
        for call in calls:
            if call.type == "function":
                function = call.function
                function.parsed_arguments = self.arguments(function.name, function.arguments)
        called = bool(calls) or message.function_call is not None
        message.parsed = self.content(message.content, refused=bool(message.refusal), calls=called)


def check_strict(tools: Iterable[Any] | NotGiven | None) -> None:
    """Refuse functions whose arguments cannot be parsed, as `parse` of the openai package does.

    Raises:
        ValueError: names the first one.
    """
    for function in _functions(tools):
        if function.get("strict") is not True:
            raise ValueError(
                f"`{function.get('name')}` is not strict. Only `strict` function tools can be auto-parsed: add "
                '"strict": True beside its name, or use create()'
            )


def _functions(tools: Iterable[Any] | NotGiven | None) -> Iterable[Mapping[str, Any]]:
    """The functions among the tools; `$web_search` and other builtin ones are none."""
    for tool in () if tools is None or isinstance(tools, msgspec.UnsetType) else tools:
        plain = tool.model_dump() if isinstance(tool, Model) else tool
        if isinstance(plain, Mapping) and plain.get("type") == "function":
            function = plain.get("function")
            if isinstance(function, Mapping):
                yield function


def validator(type_: Any) -> Callable[[str], Any]:
    """What makes values of a type of whole JSON texts."""
    from moonshot_async.mfjs import is_pydantic, pydantic_adapter

    if is_pydantic(type_):
        if hasattr(type_, "model_validate_json"):
            validate: Callable[[str], Any] = type_.model_validate_json
        else:
            validate = pydantic_adapter(type_).validate_json
        return validate
    return msgspec.json.Decoder(type_, dec_hook=_foreign).decode


def _foreign(type_: Any, value: Any) -> Any:
    """What msgspec does not know: models of pydantic inside of other types."""
    return type_.model_validate(value)


def _misfit(name: str, problem: str, path: str | None, text: str) -> StructuredOutputError:
    place = "" if path is None else f" at {path}"
    return StructuredOutputError(f"The answer is not a {name}: {problem}{place}.", text=text, path=path)


def _name(type_: Any) -> str:
    named = type_.__origin__ if hasattr(type_, "__metadata__") else type_
    name = _NO_NAME.sub("_", getattr(named, "__name__", "")).strip("_")
    return name[:_NAME_CHARS] or "answer"
