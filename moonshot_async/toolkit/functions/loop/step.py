"""One request of a run, and what becomes of the calls in its answer while it arrives."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from moonshot_async.chat_events import ContentDeltaEvent, ReasoningDeltaEvent, StreamResumedEvent, ToolCallDeltaEvent
from moonshot_async.toolkit.functions.loop.calls import Call, StreamedCalls
from moonshot_async.toolkit.functions.loop.events import MessageEvent
from moonshot_async.toolkit.functions.loop.history import Answer, History, Message, OpenTurn
from moonshot_async.toolkit.functions.loop.outbox import Outbox
from moonshot_async.toolkit.functions.loop.running import Running
from moonshot_async.types.chat import ChatCompletionMessage, ToolCall
from moonshot_async.types.parsed import ParsedChatCompletion

if TYPE_CHECKING:
    from moonshot_async.chat_stream import ChatStream

_STEPS_USED_UP: Final = "This call was not run: the run has no steps left. Answer without tools."


class Step:
    """The answer to one request.

    Args:
        number: which one, from 1.
        closing: whether the model was told to call no tool; calls are refused then.
        history: where the answer is kept.
        running: runs the calls.
        outbox: takes the events.
        as_param: makes of a message what is put back.

    Attributes:
        calls: those in it that are complete.
    """

    def __init__(
        self,
        number: int,
        history: History,
        running: Running,
        outbox: Outbox,
        as_param: Callable[[ChatCompletionMessage], Message],
        *,
        closing: bool,
    ) -> None:
        self.closing = closing
        self.calls = StreamedCalls(number, history.ids)
        self._history = history
        self._running = running
        self._outbox = outbox
        self._as_param = as_param
        self._turn = OpenTurn(dict)

    async def read(self, stream: "ChatStream[Any]") -> ParsedChatCompletion[Any]:
        """Read the answer to its end; calls begin as soon as they are complete.

        Raises:
            MoonshotError: whatever a stream raises.
        """

        def message() -> ChatCompletionMessage:
            return stream.current_completion_snapshot.choices[0].message

        def head_of(position: int) -> ToolCall:
            return (message().tool_calls or [])[position]

        self._turn = self._history.open = OpenTurn(lambda: self._as_param(message()))
        put = self._outbox.put
        try:
            async for event in stream:
                if isinstance(event, (ContentDeltaEvent, ReasoningDeltaEvent)):
                    if event.delta:
                        put(event)
                elif isinstance(event, ToolCallDeltaEvent):
                    if (call := self.calls.add(event, head_of)) is not None:
                        self._begin(call)
                elif isinstance(event, StreamResumedEvent):
                    put(event)
            return await stream.get_final_completion()
        finally:
            # What asks the stream leads back to the history that it stands in: only a collection would free them.
            self._turn.complete(self._as_param(message()) if self._turn.answers else {})

    async def finish(self, message: ChatCompletionMessage) -> None:
        """The message is whole: run the rest of its calls, and wait until all are answered."""
        for call in self.calls.rest(message.tool_calls or []):
            self._begin(call)
        self._turn.complete(self._as_param(message))
        await self._close()

    async def settle(self) -> None:
        """The answer was cut: let the calls end that were begun, lest they are made a second time, and keep them with
        their answers, and nothing else.
        """
        if self._turn.answers:
            await self._close()

    def _begin(self, call: Call) -> None:
        answer = self._turn.answers[call.position] = Answer(call)
        if self.closing:
            self._running.skip(answer, _STEPS_USED_UP)
        else:
            self._running.begin(answer)

    async def _close(self) -> None:
        self._outbox.put(MessageEvent(self._turn.messages()[0]))
        await answer_calls(self._history, self._running, self._outbox)


async def answer_calls(history: History, running: Running, outbox: Outbox) -> None:
    """Wait for the answers to the calls that are open, and take them into the conversation.

    Raises:
        APITimeoutError: the deadline of the caller came first.
    """
    await running.finish()
    for message in history.close():
        outbox.put(MessageEvent(message))
