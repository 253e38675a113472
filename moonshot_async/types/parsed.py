"""Chat completions whose content and tool calls were parsed into types.

See: https://platform.kimi.ai/docs/api/chat
"""

from typing import Any, Generic, TypeVar

import msgspec

from moonshot_async.types.chat import ChatCompletion, ChatCompletionMessage, Choice, FunctionCall, ToolCall
from moonshot_async.types.model import Model

T = TypeVar("T")
M = TypeVar("M", bound=Model)


# `gc`: what users parse into may lead back to the answer, so the collector must see it.
class ParsedFunction(FunctionCall, kw_only=True, gc=True):
    """The function that a tool call names.

    Attributes:
        parsed_arguments: the arguments as the type of the tool, or as plain data where it has none; None where the
            tool was not one to be parsed.
    """

    parsed_arguments: Any = None

    def model_dump(self, **options: Any) -> dict[str, Any]:
        """Plain dicts and lists, what was parsed included; see `Model.model_dump`."""
        return _dumped(super().model_dump(**options), "parsed_arguments")


class ParsedFunctionToolCall(ToolCall, kw_only=True, gc=True):
    """One call that the model asks for, with parsed arguments."""

    function: ParsedFunction = msgspec.field(default_factory=ParsedFunction)


class ParsedChatCompletionMessage(ChatCompletionMessage, Generic[T], kw_only=True, gc=True):
    """The model's message. It can be put into `messages` again; what was parsed is not sent.

    Attributes:
        parsed: the content as the type that was asked for; None when the model called tools or refused instead.
    """

    # Lists are invariant, for what is put into them: nobody puts other calls into an answer.
    tool_calls: list[ParsedFunctionToolCall] | None = None  # type: ignore[assignment]
    parsed: T | None = None

    def model_dump(self, **options: Any) -> dict[str, Any]:
        """Plain dicts and lists, what was parsed included; see `Model.model_dump`."""
        return _dumped(super().model_dump(**options), "parsed")

    def to_param(self) -> dict[str, Any]:
        """This message as an entry of `messages`: as received, without what was parsed."""
        return self.unparsed().to_param()

    def unparsed(self) -> ChatCompletionMessage:
        """The message as it came."""
        calls = self.tool_calls
        plain: Any = calls and [_as(ToolCall, call, function=_as(FunctionCall, call.function)) for call in calls]
        return _as(ChatCompletionMessage, self, tool_calls=plain)

    def __eq__(self, other: object) -> bool:
        return self.unparsed() == other if type(other) is ChatCompletionMessage else super().__eq__(other)


class ParsedChoice(Choice, Generic[T], kw_only=True, gc=True):
    """One of the answers."""

    message: ParsedChatCompletionMessage[T]


class ParsedChatCompletion(ChatCompletion, Generic[T], kw_only=True, gc=True):
    """The whole answer to one request, parsed.

    See: https://platform.kimi.ai/docs/api/chat
    """

    choices: list[ParsedChoice[T]]  # type: ignore[assignment]  # as above

    def unparsed(self) -> ChatCompletion:
        """The answer as it came; both are equal."""
        return _as(
            ChatCompletion,
            self,
            choices=[_as(Choice, choice, message=choice.message.unparsed()) for choice in self.choices],
        )

    def __eq__(self, other: object) -> bool:
        return self.unparsed() == other if type(other) is ChatCompletion else super().__eq__(other)


def parsed_form(completion: ChatCompletion) -> ParsedChatCompletion[Any]:
    """An answer with room for what is parsed of it, and nothing there yet; the parts are shared with the first."""
    choices = [_as(ParsedChoice, choice, message=_message(choice.message)) for choice in completion.choices]
    return _as(ParsedChatCompletion, completion, choices=choices)


def _message(message: ChatCompletionMessage) -> ParsedChatCompletionMessage[Any]:
    calls = None
    if message.tool_calls is not None:
        calls = [
            _as(ParsedFunctionToolCall, call, function=_as(ParsedFunction, call.function))
            for call in message.tool_calls
        ]
    return _as(ParsedChatCompletionMessage, message, tool_calls=calls)


def _as(cls: type[M], model: Model, **changes: Any) -> M:
    shared = {name: getattr(model, name) for name in cls.__struct_fields__ if name in model.__struct_fields__}
    return cls(**shared | changes)


def _dumped(dump: dict[str, Any], name: str) -> dict[str, Any]:
    if name in dump:
        dump[name] = _plain(dump[name])
    return dump


def _plain(value: Any) -> Any:
    """Plain data of anything that answers are parsed into."""
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        names = msgspec.to_builtins(list(value), enc_hook=_foreign)
        return {str(name): _plain(item) for name, item in zip(names, value.values(), strict=True)}
    if hasattr(value, "__dataclass_fields__"):
        # msgspec would leave out what has its default.
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    plain = msgspec.to_builtins(value, str_keys=True, enc_hook=_foreign)
    if isinstance(value, msgspec.Struct) and isinstance(plain, dict):
        for field in msgspec.structs.fields(value):
            if field.encode_name in plain:
                plain[field.encode_name] = _plain(getattr(value, field.name))
    return plain


def _foreign(value: Any) -> Any:
    """What msgspec does not know: pydantic's models say themselves what they hold, all else its text."""
    return value.model_dump(mode="json", by_alias=True) if hasattr(value, "model_dump") else str(value)
