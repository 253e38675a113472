"""The models that a conversation may ask, and how much of it they take."""

import re
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from moonshot_async.catalog import Catalog, currency_of
from moonshot_async.errors import ConfigurationError
from moonshot_async.toolkit.model_choice import (
    Room,
    able_models,
    answer_tokens,
    check_tokens,
    known_models,
    largest_room,
    rooms_of,
    smallest_room,
)

if TYPE_CHECKING:
    from moonshot_async.client import AsyncMoonshot

# What the service says of a prompt that is too long.
_FIGURES: Final = r"(?i)token limit\D{1,20}(\d{1,12})\D{1,40}(\d{1,12})"


class Models:
    """The models that may be asked.

    Args:
        names: the id, ids to choose from, or None for all that the catalog has.
        client: its catalog knows windows and prices.
        max_context_tokens: no more is used of any window.

    Attributes:
        learned: windows that turned out to be smaller than was thought.

    Raises:
        ConfigurationError: an id in a list is not in the catalog, a list is empty, or a number is not positive.
    """

    def __init__(
        self, names: str | Iterable[str] | None, client: "AsyncMoonshot", max_context_tokens: int | None
    ) -> None:
        if isinstance(names, bytes) or not (names is None or isinstance(names, Iterable)):
            raise TypeError(f"model must be an id, a list of ids or None, not {type(names).__name__}")
        self.names: str | tuple[str, ...] | None = names if names is None or isinstance(names, str) else tuple(names)
        self.max_context_tokens = check_tokens("max_context_tokens", max_context_tokens)
        self._catalog: Catalog = client.catalog
        self._currency = currency_of(client.base_url)
        self.learned: dict[str, int] = {}
        if isinstance(self.names, str):
            if not self.names:
                raise ConfigurationError("model must be an id such as 'kimi-k2.6', not an empty text")
        else:
            known_models(self.names, self._catalog)

    def learn(self, id: str, window: int) -> None:
        """A window is no larger than this."""
        self.learned[id] = min(window, self.learned.get(id, window))

    def may_think(self) -> bool:
        """Whether one of the models is known to reason, so that it may want to see its reasoning again."""
        known = [self._catalog.get(id) for id in self._ids()]
        return any(model is not None and model.thinking != "never" for model in known)

    def room(self, tokens: int, kinds: Collection[str], asked: int | None) -> Room | None:
        """The model to ask: the smallest that a prompt fits into, else the one that takes the longest.

        Args:
            tokens: of the prompt.
            kinds: what it holds beside text.
            asked: `max_completion_tokens`.

        Returns:
            None for a model of which nothing is known.

        Raises:
            ConfigurationError: no model takes what the prompt holds.
        """
        if isinstance(self.names, str) and self._catalog.get(self.names) is None:
            limits = [limit for limit in (self.max_context_tokens, self.learned.get(self.names)) if limit is not None]
            return Room(self.names, min(limits), answer_tokens(None, min(limits), asked)) if limits else None
        models = [
            msgspec.structs.replace(model, context_window=min(model.context_window, self.learned[model.id]))
            if model.id in self.learned
            else model
            for model in able_models(known_models(self._ids(), self._catalog), kinds)
        ]
        rooms = rooms_of(models, asked, self.max_context_tokens)
        return smallest_room(rooms, tokens, self._catalog, self._currency) or largest_room(rooms)

    def default_answer(self, id: str) -> int | None:
        """The `max_completion_tokens` that a model takes by itself; None where that is not known."""
        model = self._catalog.get(id)
        return None if model is None else model.default_output_tokens

    def _ids(self) -> Sequence[str]:
        if self.names is None:
            return self._catalog.current_ids()
        return (self.names,) if isinstance(self.names, str) else self.names


def figures(message: str) -> tuple[int, int] | None:
    """The window, and what was asked for, prompt and answer together, as the service tells them in a refusal."""
    found = re.search(_FIGURES, message)
    return (int(found[1]), int(found[2])) if found else None
