"""One question on its way: a draft of the history that takes the place of the real one once the answer is whole.

Whatever fails, is cut or cancelled leaves the history as it was, also where turns were dropped for the question.
"""

import operator
from inspect import isawaitable
from typing import Any, Final

import msgspec

from moonshot_async.errors import ContextLengthExceededError, ContextWindowError, ConversationError
from moonshot_async.toolkit.conversation.asking import Asking
from moonshot_async.toolkit.conversation.history import History
from moonshot_async.toolkit.conversation.messages import Message, checked_message
from moonshot_async.toolkit.conversation.models import figures
from moonshot_async.toolkit.conversation.tokens import Entry, whole
from moonshot_async.toolkit.conversation.trimming import TrimPolicy, needed
from moonshot_async.toolkit.model_choice import Room
from moonshot_async.types.chat import Usage

# What is left of a prompt that was refused as too long, where the service does not say by how much.
_LESS: Final = 0.75


class Step:
    """A question, or whatever else the model is to answer now.

    Args:
        asking: what goes with it.
        history: a draft that ends with the question.
        options: keywords for this call.

    Attributes:
        history: the draft.
        options: keywords for this call and all others, but for what the conversation has itself.
    """

    __slots__ = ("_again", "_asking", "_beside", "_room", "history", "options")

    def __init__(self, asking: Asking, history: History, options: dict[str, Any]) -> None:
        own = {} if asking.max_completion_tokens is None else {"max_completion_tokens": asking.max_completion_tokens}
        self.history = history
        self._asking = asking
        self.options = {**asking.options, **own, **options}
        self._again = False
        self._room: Room | None = None
        # What this call has beside the messages that others do not have, as an estimate.
        self._beside = 0
        if "response_format" in options:
            usual = Entry.beside(asking.options.get("response_format")).estimate
            self._beside = Entry.beside(options["response_format"]).estimate - usual

    @property
    def tokens(self) -> int:
        """What the prompt counts, as far as one can tell."""
        return whole(self.history.account.tokens + self._extra())

    async def fit(self) -> None:
        """Choose a model, and drop what has to go.

        Raises:
            ContextWindowError: what has to stay does not fit.
            ConfigurationError: no model takes what the prompt holds.
        """
        self._room = self._choose()
        while self._asking.trim is not None and self._room is not None and self.tokens > self._room.prompt:
            await self._drop(self._how_many(self._asking.trim, self._room))
            self._room = self._choose()

    def params(self) -> dict[str, Any]:
        """The keywords for `create` or `stream`; the messages are not to be changed."""
        asking, room = self._asking, self._room
        params = {**self.options}
        params["model"] = asking.models.names if room is None else room.id
        params["messages"] = self.history.messages()
        if (most := self._sent()) is not None:
            params["max_completion_tokens"] = most
        if asking.tools:
            params["tools"] = asking.tools
        if asking.cache_key is not None:
            params["prompt_cache_key"] = asking.cache_key
        return params

    def learn(self, error: ContextLengthExceededError) -> bool:
        """Take note that the prompt was longer than was thought; whether to try once more, with less of it."""
        room, tokens, models = self._room, self.tokens, self._asking.models
        if self._again or self._asking.trim is None:
            return False
        self._again = True
        id, answer = (str(models.names), 0) if room is None else (room.id, room.answer)
        if (told := figures(error.message)) is not None:
            window, requested = told
            models.learn(id, window)
            counted = requested - (self._asked() or self._sent() or 0) - self._extra()
            if counted > 0:
                # Entries of its own: the question may fail after all.
                self.history = self.history.twin()
                self.history.account.measure(counted, self.history.entries())
        now = self._choose()
        if now is None or self.tokens <= now.prompt:
            # There are no figures, or they do not explain it.
            models.learn(id, max(1, int(tokens * _LESS)) + answer)
        return len(self.history.turns) > 1

    def append(self, message: Message, usage: Usage | None) -> None:
        """Append an answer of the model.

        Args:
            message: see `answer_message`.
            usage: of the one request that it answers; None where that is not known.

        Raises:
            ConversationError: it does not fit behind what is there.
        """
        completion_tokens = 0
        if usage is not None and usage.prompt_tokens > 0:
            self.history.account.measure(usage.prompt_tokens - self._extra(), self.history.entries())
            completion_tokens = usage.completion_tokens
        self.history.append(Entry.of_answer(message, completion_tokens))

    def _extra(self) -> float:
        return self.history.account.ratio * self._beside

    def _choose(self) -> Room | None:
        return self._asking.models.room(self.tokens, self.history.kinds(), self._asked())

    def _asked(self) -> int | None:
        """What the caller says that the answer may have."""
        given = (self.options.get(name) for name in ("max_completion_tokens", "max_tokens"))
        return next((value for value in given if isinstance(value, int)), None)

    def _sent(self) -> int | None:
        """What the answer may have where nobody said so, and what the model takes by itself would not fit."""
        room = self._room
        if room is None or self._asking.trim is None or self._asked() is not None:
            return None
        return None if room.answer == self._asking.models.default_answer(room.id) else room.answer

    def _how_many(self, trim: TrimPolicy, room: Room) -> int:
        """How many turns go."""
        tokens, freed = self.tokens, self.history.droppable()
        least = needed(freed, tokens, room.prompt)
        stays = whole(tokens - sum(freed[:least]))
        if stays > room.prompt:
            raise ContextWindowError(
                f"the newest turn and what always stays (system, pinned and summary) count about {stays} tokens, and "
                f"{room.answer} are kept for the answer, but the window of {room.id} has {room.window}: shorten the "
                "question, pin less, lower max_completion_tokens, or name a model with a larger window",
                needed_tokens=stays + room.answer,
                window_tokens=room.window,
            )
        wanted = trim.drop([int(tokens) for tokens in freed], tokens=tokens, room=room.prompt)
        return max(least, min(operator.index(wanted), len(freed)))

    async def _drop(self, turns: int) -> None:
        """Drop the oldest turns, and put a summary in their place where one is wanted."""
        asking, gone = self._asking, self.history.dropped + turns
        entry: Entry | None = None
        if asking.summarise is not None and self.history.dropping(turns):
            if asking.summary is None or asking.summary[0] != gone:
                made = asking.summarise(msgspec.to_builtins(self.history.dropping(turns)))
                asking.summary = gone, _checked_summary(await made if isawaitable(made) else made)
            entry = Entry.of(checked_message({"role": "system", "content": asking.summary[1]}))
        self.history.drop(turns)
        if entry is not None:
            self.history.summarise(entry)


def _checked_summary(text: object) -> str:
    if not isinstance(text, str) or not text:
        raise ConversationError(f"summarise must return a text that is not empty, not {type(text).__name__}")
    return text
