"""What a conversation holds, and what it tells of itself."""

from collections.abc import Callable, Iterable
from decimal import Decimal
from functools import wraps
from typing import Concatenate, ParamSpec, Self, TypeVar

import msgspec

from moonshot_async.catalog import Currency, currency_of
from moonshot_async.errors import ConversationError
from moonshot_async.redaction import forget_locals
from moonshot_async.resources.media_urls import check_media_urls
from moonshot_async.toolkit.conversation.asking import Asking
from moonshot_async.toolkit.conversation.history import History
from moonshot_async.toolkit.conversation.messages import Message, check_names, checked_message, with_reasoning
from moonshot_async.toolkit.conversation.replies import Spent
from moonshot_async.toolkit.conversation.tokens import Entry, whole
from moonshot_async.toolkit.model_choice import DYNAMIC_TOOLS
from moonshot_async.types.chat import Usage

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound="State")


def unseen(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Leave nothing of what is said in the frames that an exception went through: error trackers record them."""

    @wraps(method)
    def wrapped(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(self, *args, **kwargs)
        except Exception as error:
            forget_locals(error)
            raise
        finally:
            kwargs.clear()
            del args

    return wrapped


class State:
    """What is held: what goes with every question, the history, and what was paid."""

    _asking: Asking
    _history: History
    _spent: Spent
    # Whether a question is on its way.
    _busy: bool

    @property
    def messages(self) -> list[Message]:
        """The history as it would be sent; a copy."""
        copied: list[Message] = msgspec.to_builtins(self._history.messages())
        return copied

    @property
    def waiting(self) -> list[str]:
        """The ids of calls that have to be answered before anything else is said."""
        return self._history.waiting.copy()

    @property
    def tokens(self) -> int:
        """What the history counts as a prompt, tools included.

        Of what was sent it is known from the usage of the answers, of the last answer but for what stands around its
        text, and of what was added since it is estimated.
        """
        return whole(self._history.account.tokens)

    @property
    def turns(self) -> int:
        """How many turns there are; those that were dropped do not count."""
        return len(self._history.turns)

    @property
    def dropped_turns(self) -> int:
        """How many turns were dropped."""
        return self._history.dropped

    @property
    def usage(self) -> Usage:
        """Tokens of all answers together, as far as the server told them; failed questions are not in it."""
        return Usage() if self._spent.usage is None else self._spent.usage

    @property
    def cost(self) -> Decimal | None:
        """What all answers cost together, in the currency of the account; None where the cost of one is not known.

        What a question cost that failed or was cut nobody knows, and what `summarise` spends is its own.
        """
        return None if self._spent.unpriced else self._spent.cost

    @property
    def currency(self) -> Currency:
        """Of the cost: "cny" for hosts that end in `.cn`, else "usd"."""
        return currency_of(self._asking.client.base_url)

    @property
    def known_cost(self) -> Decimal:
        """The part of the cost that is known."""
        return self._spent.cost

    @property
    def unpriced_answers(self) -> int:
        """How many answers are not in `known_cost`: the server told no usage, or the catalog has no price."""
        return self._spent.unpriced

    @property
    def prompt_cache_key(self) -> str | None:
        """What names the conversation to the service's cache."""
        return self._asking.cache_key

    def __repr__(self) -> str:
        history = self._history
        return f"<Conversation: {len(history.turns)} turns, {history.dropped} dropped, about {self.tokens} tokens>"

    @classmethod
    def _of(cls, asking: Asking, history: History, spent: Spent) -> Self:
        made = cls.__new__(cls)
        made._asking, made._history, made._spent, made._busy = asking, history, spent, False
        return made

    def _entry(self, message: object, *, pin: bool = False) -> Entry:
        """A message that was checked, and whose media a model can see."""
        checked = checked_message(message)
        check_media_urls([checked], self._asking.client.base_url)
        if checked["role"] == "assistant" and self._asking.models.may_think():
            with_reasoning(checked)
        entry = Entry.of(checked, pinned=pin)
        if entry.kinds:
            self._asking.models.room(0, entry.kinds, None)
        return entry

    def _replay(self, messages: Iterable[object]) -> None:
        place = 0
        try:
            for place, message in enumerate(messages):  # noqa: B007  # the place is told below
                self._put(self._entry(message))
            return
        except ConversationError as error:
            problem = str(error)
        raise ConversationError(f"messages[{place}]: {problem}")

    def _append(self, entry: Entry) -> None:
        self._check_free()
        self._put(entry)
        self._asking.summary = None

    def _put(self, entry: Entry) -> None:
        if DYNAMIC_TOOLS in entry.kinds:
            check_names(self._asking.tools, *self._history.tools(), entry.message["tools"])
        self._history.append(entry)

    def _check_free(self) -> None:
        if self._busy:
            raise ConversationError(
                "a question is waiting for its answer: await it, or leave its stream, before the next step; fork() "
                "gives a conversation that can be asked meanwhile"
            )

    def _keep(self, history: History) -> None:
        self._history = history
        self._asking.summary = None

    def _free(self) -> None:
        self._busy = False
