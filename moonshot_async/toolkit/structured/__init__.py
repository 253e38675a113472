"""Answers of a type: one value, or the value while it arrives.

    city = await parse(client, City, model="kimi-k2.6", messages=[…])

    async for city in parse_stream(client, City, model="kimi-k2.6", messages=[…]):
        print(city.name if has_come(city.name) else "…")

A type is a `msgspec.Struct`, dataclass, `TypedDict` or model of pydantic, or anything of them: `list[City]`, `int`,
`Literal["yes", "no"]`, an enum, `City | None`. What is no object is sent in one, as `{"value": …}`.

Whatever comes is paid for. So every error that says that no value can be made of an answer keeps it: `completion`,
`usage`, and where it is the text, `text` and `path`.

See: https://platform.kimi.ai/docs/api/chat
"""

from collections.abc import AsyncGenerator, AsyncIterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Unpack, cast, overload

import msgspec

from moonshot_async.errors import StructuredOutputError
from moonshot_async.mfjs import is_pydantic
from moonshot_async.redaction import Unseen
from moonshot_async.structured import Parsing
from moonshot_async.toolkit.structured.partial_values import PartialValue
from moonshot_async.toolkit.structured.repair import Asking, ParsedAnswer, checked_keywords
from moonshot_async.toolkit.structured.roots import AnswerRoot
from moonshot_async.types.chat import ChatCompletion, Usage
from moonshot_async.types.encoding import NOT_GIVEN

if TYPE_CHECKING:
    from moonshot_async.chat_stream import ChatStream, ChatStreamManager
    from moonshot_async.client import AsyncMoonshot
    from moonshot_async.resources.chat import ParseParams

__all__ = ["ParsedAnswer", "ParsedStream", "has_come", "parse", "parse_answer", "parse_stream"]

T = TypeVar("T")


def has_come(part: object) -> bool:
    """Whether a field of a partial value has begun to arrive: type checkers take its type as given."""
    return part is not msgspec.UNSET


@overload
async def parse(
    client: "AsyncMoonshot", type_: type[T], /, *, retries: int = ..., **params: "Unpack[ParseParams]"
) -> T: ...


@overload
async def parse(
    client: "AsyncMoonshot", type_: Any, /, *, retries: int = ..., **params: "Unpack[ParseParams]"
) -> Any: ...


async def parse(client: "AsyncMoonshot", type_: Any, /, *, retries: int = 0, **params: Any) -> Any:
    """Ask a model for a value of a type.

    Args:
        client: sends the request.
        type_: of the value; what it may be stands at the top of this module.
        retries: how often the model is asked again where its answer is no such value: it is told what is wrong, and
            where. After an empty answer the same is asked once more. Each answer is paid for; `timeout` bounds all of
            them together. An answer that was cut (`length`), filtered or refused, or that calls tools, is not asked
            for again: it would be so once more.
        **params: `model` and `messages`, and what else `client.chat.completions.create` takes, but for
            `response_format` and `stream`.

    Raises:
        StructuredOutputError: the answer is no such value; `.completion`, `.text`, `.path` and `.usage` say more.
        EmptyAnswerError: the same, for there is nothing in it.
        LengthFinishReasonError: it was cut by `max_completion_tokens`, perhaps before anything was said.
        ContentFilterFinishReasonError: it was cut by moderation.
        TypeError: the type has no schema, or a keyword does not exist; before any I/O.
        ConfigurationError: something in the request cannot be sent; before any I/O.
        ValueError: a function in `tools` is not strict, as for `client.chat.completions.parse`; before any I/O.
        APIStatusError, APIConnectionError: as for `create`. Where the model was being asked again, the cause is what
            was wrong with its answer.

    See: https://platform.kimi.ai/docs/api/chat
    """
    with Unseen(params):
        asking: Asking[Any] = Asking(client, AnswerRoot(type_), params, retries)
    return (await asking.answer()).value


@overload
async def parse_answer(
    client: "AsyncMoonshot", type_: type[T], /, *, retries: int = ..., **params: "Unpack[ParseParams]"
) -> ParsedAnswer[T]: ...


@overload
async def parse_answer(
    client: "AsyncMoonshot", type_: Any, /, *, retries: int = ..., **params: "Unpack[ParseParams]"
) -> ParsedAnswer[Any]: ...


async def parse_answer(client: "AsyncMoonshot", type_: Any, /, *, retries: int = 0, **params: Any) -> ParsedAnswer[Any]:
    """The same as `parse`, with the answers that the value took, and what they cost.

    See: https://platform.kimi.ai/docs/api/chat
    """
    with Unseen(params):
        asking: Asking[Any] = Asking(client, AnswerRoot(type_), params, retries)
    return await asking.answer()


@overload
def parse_stream(client: "AsyncMoonshot", type_: type[T], /, **params: "Unpack[ParseParams]") -> "ParsedStream[T]": ...


@overload
def parse_stream(client: "AsyncMoonshot", type_: Any, /, **params: "Unpack[ParseParams]") -> "ParsedStream[Any]": ...


def parse_stream(client: "AsyncMoonshot", type_: Any, /, **params: Any) -> "ParsedStream[Any]":
    """Ask a model for a value of a type, and have it while it arrives.

        async with parse_stream(client, City, model=…, messages=…) as stream:
            async for city in stream:
                ...
            city = await stream.value()

    or `async for city in parse_stream(…)` alone, which closes the connection when the loop is left.

    Args:
        client: sends the request.
        type_: of the value; what it may be stands at the top of this module.
        **params: `model` and `messages`, and what else `client.chat.completions.create` takes, but for
            `response_format` and `stream`.

    Raises:
        TypeError: the type has no schema, or a keyword does not exist; before any I/O.
        ConfigurationError: something in the request cannot be sent; before any I/O.

    See: https://platform.kimi.ai/docs/guide/utilize-the-streaming-output-feature-of-kimi-api
    """
    with Unseen(params):
        return _parsed_stream(client, AnswerRoot(type_), params)


class ParsedStream(Generic[T]):
    """A value while it arrives: each that is yielded extends the one before, and the last one is what `parse` gives.

    Texts and lists grow. Fields that have not come are `msgspec.UNSET` (`has_come` asks for that); of a `TypedDict` or
    dict they are not there. Numbers, booleans, enums, literals, dates and the like come when they are whole, a struct
    of a tagged union when its tag has come. Defaults, `__post_init__` and validators count when their object is whole,
    constraints when what they are about is. What none of this can be said of comes when it is whole.

    A value that is handed out does not change any more. What is whole in it is in those that follow, too, so leave it
    as it is. A very large value comes less often than its pieces do: the cost of all grows as the answer does.

    Iterating raises what `Stream` raises, and at the end what `parse` does. An answer that says twice what a field is,
    and so takes back what was handed out, is a `StructuredOutputError`, too. There are no retries: nothing that was
    handed out can be unsaid.

    Inside `async with` the loop may be left and gone on with.
    """

    def __init__(self, manager: "ChatStreamManager[None]", parsing: Parsing[Any], root: AnswerRoot[T]) -> None:
        self._manager = manager
        self._parsing = parsing
        self._root = root
        self._partial: PartialValue[Any] = PartialValue(root.type, pydantic=is_pydantic(root.type))
        self._entered = False
        self._stream: ChatStream[None] | None = None
        self._answer: ParsedAnswer[T] | None = None

    @property
    def completion(self) -> ChatCompletion:
        """The answer as far as it has come; raises `StreamInterruptedError` before its first chunk."""
        return self._opened().current_completion_snapshot.unparsed()

    @property
    def usage(self) -> Usage | None:
        """What it cost, in tokens; None where the service has not told, as before the end."""
        return self.completion.usage

    async def value(self) -> T:
        """Read the rest, and give the whole value."""
        async for _ in self:
            pass
        assert self._answer is not None, "the loop has ended"
        return self._answer.value

    def __aiter__(self) -> AsyncIterator[T]:
        return _alone(self) if self._stream is None else self

    async def __anext__(self) -> T:
        stream = self._opened()
        if self._answer is not None:
            raise StopAsyncIteration
        partial = self._partial
        async for event in stream:
            if event.type == "content.delta" and event.choice == 0 and partial.feed(event.delta):
                value = self._root.unwrapped(partial.value())
                if value is not msgspec.UNSET:
                    return cast("T", value)
        answer, told = await self._whole(stream)
        if told:
            raise StopAsyncIteration
        return answer.value

    async def _whole(self, stream: "ChatStream[None]") -> tuple[ParsedAnswer[T], bool]:
        """The whole answer, once it has come; and whether the last value that was told is all of its value."""
        completion = await stream.get_final_completion()
        parsed = self._parsing.completion(completion)
        value = self._root.value_in(parsed)
        if self._partial.twice is not None:
            problem = f"The answer is not a {self._root.name}: a name comes twice at {self._partial.twice}."
            text = completion.choices[0].message.content or ""
            raise StructuredOutputError(problem, text=text, path=self._partial.twice, completion=completion)
        self._answer = ParsedAnswer(value, (completion,))
        return self._answer, self._partial.has_told(parsed.choices[0].message.parsed)

    async def aclose(self) -> None:
        """Close the connection if the answer is not complete. Never waits for the network."""
        if self._stream is not None:
            await self._stream.aclose()

    async def __aenter__(self) -> "ParsedStream[T]":
        if self._entered:
            raise TypeError("a parsed stream is entered once: parse_stream() gives another one, which asks again")
        self._entered = True
        try:
            self._stream = await self._manager.__aenter__()
        except BaseException:
            # There is no answer yet.
            self._entered = False
            raise
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def _opened(self) -> "ChatStream[None]":
        if self._stream is None:
            raise TypeError("a parsed stream is entered first: `async with parse_stream(…) as stream`")
        return self._stream


def _parsed_stream(client: "AsyncMoonshot", root: AnswerRoot[T], params: dict[str, Any]) -> ParsedStream[T]:
    if "retries" in params:
        raise TypeError("parse_stream() takes no retries: what was handed out cannot be unsaid; parse() takes them")
    keywords = checked_keywords(params, "parse_stream")
    parsing: Parsing[Any] = Parsing(root.type, keywords.get("tools", NOT_GIVEN))
    # What comes is not parsed by the stream: an error at its end would come before the usage does.
    manager = client.chat.completions.stream(response_format=parsing.response_format, **keywords)
    return ParsedStream(manager, parsing, root)


async def _alone(stream: ParsedStream[T]) -> AsyncGenerator[T, None]:
    async with stream:
        async for partial in stream:
            yield partial
