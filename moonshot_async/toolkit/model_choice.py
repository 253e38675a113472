"""Which model to ask: the one with the smallest context window that prompt and answer fit into.

    model = choose_model(["kimi-k2.6", "kimi-k3"], prompt_tokens=300_000)       # kimi-k3: 262,144 are too few

What `moonshot-v1-auto` did at the service is done here over the catalog, for the models that there are today.

See: https://platform.kimi.ai/docs/api/list-models
"""

from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal
from typing import Final

import msgspec

from moonshot_async.catalog import CATALOG, Catalog, Currency, Model
from moonshot_async.errors import ConfigurationError, ContextWindowError

DYNAMIC_TOOLS: Final = "dynamic tools"
"""Among modalities: tools that a system message brings, which only models with efforts load."""

# What a model without a price costs, so that it is chosen last.
_UNKNOWN_PRICE: Final = Decimal("Infinity")


class Room(msgspec.Struct, frozen=True):
    """How much a model takes.

    Attributes:
        id: of the model.
        window: tokens of prompt and answer together.
        answer: how many of them are kept for the answer.
    """

    id: str
    window: int
    answer: int

    @property
    def prompt(self) -> int:
        """The most tokens that a prompt may have."""
        return self.window - self.answer


def choose_model(
    models: Iterable[str] | None,
    prompt_tokens: int,
    *,
    completion_tokens: int | None = None,
    modalities: Collection[str] = (),
    max_context_tokens: int | None = None,
    catalog: Catalog = CATALOG,
    currency: Currency = "usd",
) -> Model:
    """Choose the model with the smallest window that suffices; of several the cheapest for this call.

    Args:
        models: ids to choose from, preferred first; None for all that the catalog has and that are not retired.
        prompt_tokens: how many the prompt has, or may have.
        completion_tokens: room for the answer, as `max_completion_tokens`; None for what `answer_tokens` says.
        modalities: what the prompt holds beside text: "image", "video".
        max_context_tokens: windows count as no larger than this.
        catalog: knows windows, modalities and prices.
        currency: of the prices that are compared.

    Raises:
        ContextWindowError: no window suffices; says which comes nearest.
        ConfigurationError: an id is not in the catalog, no model takes the modalities, or a number is none of tokens.
    """
    if isinstance(prompt_tokens, bool) or not isinstance(prompt_tokens, int) or prompt_tokens < 0:
        raise ConfigurationError(f"prompt_tokens must be a number of tokens, 0 or more, not {prompt_tokens!r}")
    check_tokens("completion_tokens", completion_tokens)
    check_tokens("max_context_tokens", max_context_tokens)
    modalities = (modalities,) if isinstance(modalities, str) else modalities
    rooms = rooms_of(able_models(known_models(models, catalog), modalities), completion_tokens, max_context_tokens)
    room = smallest_room(rooms, prompt_tokens, catalog, currency)
    if room is not None:
        return catalog.models[room.id]
    room = largest_room(rooms)
    raise ContextWindowError(
        f"{prompt_tokens} tokens of prompt and {room.answer} for the answer fit into no window: {room.id} has the most "
        f"room, with a window of {room.window}. Shorten the prompt, lower max_completion_tokens, or name a model with "
        "a larger window",
        needed_tokens=prompt_tokens + room.answer,
        window_tokens=room.window,
    )


def check_tokens(name: str, value: int | None) -> int | None:
    """A number of tokens that a caller gave.

    Raises:
        ConfigurationError: it is no positive whole number.
    """
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ConfigurationError(f"{name} must be a positive number of tokens, or None, not {value!r}")
    return value


def known_models(models: Iterable[str] | None, catalog: Catalog) -> list[Model]:
    """The entries of the catalog for some ids; None stands for all ids that are served.

    Raises:
        ConfigurationError: there are none, or the catalog does not know one.
    """
    if isinstance(models, str):
        raise ConfigurationError(f"models must be a list of ids, such as [{models!r}]")
    known: list[Model] = []
    for id in catalog.current_ids() if models is None else models:
        model = catalog.get(id) if isinstance(id, str) else None
        if model is None:
            raise ConfigurationError(
                f"the catalog does not know the model {id!r}, so its window cannot be compared: add it with "
                "CATALOG.extended(models=[Model(..., context_window=...)])"
            )
        known.append(model)
    if not known:
        raise ConfigurationError("there is no model to choose from: name at least one")
    return known


def able_models(models: Sequence[Model], modalities: Collection[str]) -> list[Model]:
    """Those of the models that take what a prompt holds.

    Raises:
        ConfigurationError: none does.
    """
    able = [model for model in models if all(_takes(model, modality) for modality in modalities)]
    if not able:
        ids, wanted = ", ".join(model.id for model in models), " and ".join(sorted(modalities))
        raise ConfigurationError(f"the prompt holds {wanted}, which {ids} cannot take: name a model that does")
    return able


def rooms_of(
    models: Iterable[Model], completion_tokens: int | None = None, max_context_tokens: int | None = None
) -> list[Room]:
    """How much each of the models takes."""
    most = max_context_tokens
    windows = [(model, model.context_window if most is None else min(model.context_window, most)) for model in models]
    return [
        Room(model.id, window, answer_tokens(model.default_output_tokens, window, completion_tokens))
        for model, window in windows
    ]


def answer_tokens(default: int | None, window: int, asked: int | None = None) -> int:
    """How many tokens of a window are kept for the answer.

    What was asked for, else what the model takes by default, unless it is unknown or more than half of the window: then
    a quarter of it.
    """
    if asked is not None:
        return asked
    return default if default is not None and 2 * default <= window else window // 4


def smallest_room(rooms: Sequence[Room], prompt_tokens: int, catalog: Catalog, currency: Currency) -> Room | None:
    """The room with the smallest window that a prompt fits into, and the lowest price; None where it fits into none."""
    fitting = [
        (room.window, *_prices(room, prompt_tokens, catalog, currency), place)
        for place, room in enumerate(rooms)
        if prompt_tokens <= room.prompt
    ]
    return rooms[min(fitting)[-1]] if fitting else None


def largest_room(rooms: Sequence[Room]) -> Room:
    """The room that takes the longest prompt; the first of several."""
    return max(rooms, key=lambda room: room.prompt)


def _takes(model: Model, modality: str) -> bool:
    return bool(model.efforts) if modality == DYNAMIC_TOOLS else modality in model.modalities


def _prices(room: Room, prompt: int, catalog: Catalog, currency: Currency) -> tuple[Decimal, Decimal]:
    """What a call costs whose prompt is in no cache, and one whose prompt is."""
    price = catalog.price(room.id, currency)
    if price is None:
        return _UNKNOWN_PRICE, _UNKNOWN_PRICE
    return (
        price.cost(prompt_tokens=prompt, completion_tokens=room.answer),
        price.cost(prompt_tokens=prompt, completion_tokens=room.answer, cached_tokens=prompt),
    )
