"""`ChatCompletionStreamState`: chunks → events, and the completion so far."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar, overload

from moonshot_async.accumulate import ChatAccumulator, ChoiceState
from moonshot_async.chat_events import ChatStreamEvent, ChunkEvent, UsageEvent
from moonshot_async.chat_stream.parts import OpenParts
from moonshot_async.errors import StreamInterruptedError, StructuredOutputError
from moonshot_async.structured import Parsing
from moonshot_async.types.chat import ChatCompletion, ChatCompletionChunk, Usage
from moonshot_async.types.encoding import NOT_GIVEN, NotGiven
from moonshot_async.types.parsed import ParsedChatCompletion, parsed_form

T = TypeVar("T")


class ChatCompletionStreamState(Generic[T]):
    """Folds chunks into events and the completion so far; usable alone, on chunks from anywhere.

    Args:
        n: how many choices were asked for.
        input_tools: the tools of the request; see `function_tool` for those whose arguments have a type.
        response_format: a type to parse the content into. What the API takes as such is left to the server.

    Attributes:
        continues: how often an answer that ends with `length` will be gone on with. While it is not 0, such an end of a
            text is not told as one; see `held`.

    Raises:
        TypeError: the type has no schema, or its values are no JSON objects.
    """

    @overload
    def __init__(
        self: "ChatCompletionStreamState[None]",
        n: int = ...,
        *,
        input_tools: Iterable[Any] | NotGiven = ...,
        response_format: Mapping[str, Any] | NotGiven | None = ...,
    ) -> None: ...

    @overload
    def __init__(
        self, n: int = ..., *, input_tools: Iterable[Any] | NotGiven = ..., response_format: type[T]
    ) -> None: ...

    def __init__(
        self, n: int = 1, *, input_tools: Iterable[Any] | NotGiven = NOT_GIVEN, response_format: Any = NOT_GIVEN
    ) -> None:
        self._n = n
        self.continues = 0
        self._answer = ChatAccumulator(n)
        self._parsing: Parsing[T] = Parsing(response_format, input_tools)
        self._open: dict[int, OpenParts] = {}

    def handle_chunk(self, chunk: ChatCompletionChunk) -> Iterator[ChatStreamEvent[T]]:
        """Take a chunk, and give the events that it makes.

        Raises:
            LengthFinishReasonError: something was to be parsed, and the answer was cut by `max_completion_tokens`.
            ContentFilterFinishReasonError: the same, cut by moderation.
            StructuredOutputError: what was to be parsed is not of its type.
        """
        answer, parsing = self._answer, self._parsing
        before = answer.usage
        answer.begin(chunk)
        events: list[ChatStreamEvent[T]] = [ChunkEvent(chunk, self)]
        try:
            for choice in chunk.choices:
                state = answer.add_choice(choice)
                parts = self._open.get(choice.index)
                if parts is None:
                    parts = self._open[choice.index] = OpenParts(state, parsing)
                if choice.finish_reason is not None and (parsing.asked or self.continues):
                    self._check_end(choice.finish_reason, state, parts)
                parts.handle(choice, events)
        except StructuredOutputError as error:
            error.completion = answer.partial()
            raise
        if answer.usage is not None and answer.usage is not before:
            events.append(UsageEvent(answer.total_usage() or answer.usage))
        return iter(events)

    def _check_end(self, reason: str, state: ChoiceState, parts: OpenParts) -> None:
        """Decide whether a choice that ends goes on, and refuse one that was cut where something was to be parsed."""
        if reason:
            can_go_on = state.grown and not (state.tool_calls or state.function or state.refusal.length)
            parts.held = self.continues > 0 and reason == "length" and can_go_on
        if self._parsing.asked and not parts.held:
            self._parsing.check_whole(self._so_far())

    @property
    def held(self) -> bool:
        """Whether the answer ended with `length`, and waits for `go_on`."""
        return any(parts.held for parts in self._open.values())

    @property
    def begun(self) -> bool:
        """Whether a chunk has come of the request that is being answered now."""
        return self._answer.begun

    @property
    def request_usage(self) -> Usage | None:
        """The usage of the request that is being answered now, as far as it was told."""
        return self._answer.usage

    def go_on(self) -> None:
        """Take the chunks that follow as the rest of the answer, from another request whose usage is added."""
        self._answer.go_on()
        for parts in self._open.values():
            parts.held = False

    def start_over(self) -> None:
        """Take the chunks that follow as the answer from its beginning; of what came, the usage alone is kept."""
        self._answer = ChatAccumulator(self._n, earlier=self._answer.total_usage())
        self._open = {}

    @property
    def finished(self) -> bool:
        """Whether every choice has had its `finish_reason`."""
        return self._answer.finished

    def partial(self) -> ChatCompletion | None:
        """The completion so far; None before the first chunk."""
        return self._answer.partial()

    @property
    def current_completion_snapshot(self) -> ParsedChatCompletion[Any]:
        """The completion so far. What is still arriving is parsed as far as it goes, to plain data.

        Raises:
            StreamInterruptedError: no chunk has come yet.
        """
        completion = parsed_form(self._so_far())
        if self._parsing.asked:
            for choice in completion.choices:
                self._open[choice.index].fill_in(choice.message)
        return completion

    def get_final_completion(self) -> ParsedChatCompletion[T]:
        """The whole answer, parsed.

        Raises:
            StreamInterruptedError: it is not complete; what there is is in `.partial`.
            StructuredOutputError: it is not of the type; or what else `handle_chunk` raises.
        """
        if not self.finished:
            error = StreamInterruptedError(message="The answer is not complete.")
            error.partial = self.partial()
            raise error
        return self.whole()

    def whole(self) -> ParsedChatCompletion[T]:
        """The same for who knows that all has come, though a choice may have ended without saying so."""
        return self._parsing.completion(self._so_far())

    def _so_far(self) -> ChatCompletion:
        completion = self.partial()
        if completion is None:
            raise StreamInterruptedError(message="There is no answer yet: no chunk has come.")
        return completion
