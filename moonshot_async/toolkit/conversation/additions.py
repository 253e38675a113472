"""What is said without asking: messages of all roles, appended where they may stand."""

from collections.abc import Iterable
from typing import Any

from moonshot_async.errors import ConversationError
from moonshot_async.toolkit.conversation.messages import Content, Message
from moonshot_async.toolkit.conversation.state import State, unseen
from moonshot_async.types.chat_messages import ChatMessage


class Additions(State):
    """Messages to append. Each is copied, and refused at once where the API would refuse it."""

    @unseen
    def add(self, message: ChatMessage, *, pin: bool = False) -> None:
        """Append a message in the API's form, in whatever role; see the methods for single roles."""
        self._append(self._entry(message, pin=pin))

    @unseen
    def add_user(self, content: Content, *, pin: bool = False) -> None:
        """Append what the user says: text, or parts; answered by the next `ask()`.

        Raises:
            ConversationError: it is empty, or calls wait for answers.
        """
        self.add({"role": "user", "content": content}, pin=pin)

    @unseen
    def add_assistant(self, message: ChatMessage | str, *, pin: bool = False) -> None:
        """Append an answer of a model: text, or a message as the API gave it.

        One with calls is pinned together with their answers.

        Raises:
            ConversationError: there is nothing in it, a call has no id, or other calls wait for answers.
        """
        given = {"role": "assistant", "content": message} if isinstance(message, str) else message
        entry = self._entry(given, pin=pin)
        if entry.message["role"] != "assistant":
            raise ConversationError("add_assistant takes messages of the role 'assistant'; add() takes all others")
        self._append(entry)

    @unseen
    def add_tool_answer(self, call_id: str, content: Content, *, name: str | None = None) -> None:
        """Answer a call of the last answer; in whatever order, each once.

        Args:
            call_id: from `reply.tool_calls`.
            content: what the tool returned, as text; it may be empty.
            name: of the tool; the API does not need it.

        Raises:
            ConversationError: there is no such call, or it has its answer.
        """
        named = {} if name is None else {"name": name}
        self.add({"role": "tool", "tool_call_id": call_id, **named, "content": content})

    @unseen
    def add_system(self, content: Content | None = None, *, tools: Iterable[Any] | None = None) -> None:
        """Append a system message, which is never dropped: text, or tools that are there from now on (K3 family).

        Raises:
            ConversationError: it is empty, has both, or calls wait for answers.
        """
        given: Message = {"role": "system"}
        if content is not None:
            given["content"] = content
        if tools is not None:
            given["tools"] = list(tools)
        self.add(given)
