"""An answer where there is no terminal: its text as it comes, or JSON."""

import sys
from typing import TYPE_CHECKING, Any, Protocol

from moonshot_async.cli.chat.visible import Visible
from moonshot_async.cli.output import Output

if TYPE_CHECKING:
    from moonshot_async.toolkit.conversation import Conversation, Reply


class Answer(Protocol):
    """What shows an answer that arrives."""

    def take(self, event: Any) -> None:
        """Take an event of the stream."""
        ...

    def finish(self) -> None:
        """The answer is whole, or will not go on."""
        ...


class PlainAnswer:
    """Writes the text of an answer as it arrives, without styles and without control characters.

    Args:
        reasoning: write what the model thinks to stderr.
    """

    def __init__(self, *, reasoning: bool = False) -> None:
        self._reasoning = reasoning
        self._text, self._thoughts = _Lines(), _Lines()

    def take(self, event: Any) -> None:
        if event.type in ("content.delta", "refusal.delta") and event.delta:
            self._thoughts.end(sys.stderr)
            self._text.write(event.delta, sys.stdout)
        elif event.type == "reasoning.delta" and self._reasoning:
            self._thoughts.write(event.delta, sys.stderr)

    def finish(self) -> None:
        self._thoughts.end(sys.stderr)
        self._text.end(sys.stdout)


class JsonLines:
    """Writes each piece of an answer as a line of JSON; see `docs/cli.md`."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def take(self, event: Any) -> None:
        if event.type in ("content.delta", "refusal.delta", "reasoning.delta") and event.delta:
            self._output.line({"type": event.type, "delta": event.delta})

    def finish(self) -> None:
        """What stands at the end is the whole answer, which the caller writes."""


class Silent:
    """Waits for the end."""

    def take(self, event: Any) -> None:
        pass

    def finish(self) -> None:
        pass


async def answered(conversation: "Conversation", content: Any, shown: Answer) -> "Reply":
    """Ask, and show the answer as it arrives."""
    async with conversation.stream(content) as stream:
        async for event in stream:
            shown.take(event)
        return await stream.get_reply()


def document(reply: "Reply", currency: str) -> dict[str, Any]:
    """An answer as data."""
    completion = reply.completion
    return {
        "id": completion.id,
        "model": completion.model,
        "content": reply.text,
        "reasoning": reply.reasoning or None,
        "finish_reason": reply.finish_reason,
        "usage": None if reply.usage is None else reply.usage.model_dump(exclude_none=True),
        "cost": reply.cost,
        "currency": currency,
    }


class _Lines:
    """Text that ends with a line feed in the end, unless there was none."""

    def __init__(self) -> None:
        self._visible = Visible()
        self._last = "\n"

    def write(self, piece: str, file: Any) -> None:
        self._put(self._visible.feed(piece), file)

    def end(self, file: Any) -> None:
        self._put(self._visible.finish(), file)
        if self._last != "\n":
            self._put("\n", file)

    def _put(self, text: str, file: Any) -> None:
        if text:
            self._last = text[-1]
            file.write(text)
            file.flush()
