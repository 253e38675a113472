"""What an answer cost."""

from decimal import Decimal
from typing import Final

from moonshot_async.catalog import CacheTtl, Catalog, currency_of
from moonshot_async.errors import ConfigurationError
from moonshot_async.types.chat import ChatCompletion

_WEB_SEARCH: Final = "$web_search"


def completion_cost(
    completion: ChatCompletion, catalog: Catalog, base_url: str, *, batch: bool = False, cache_ttl: CacheTtl = "5m"
) -> Decimal:
    """What an answer cost, searches of the service included, in the currency of the host it came from.

    Args:
        completion: the answer, its usage and model included.
        catalog: knows the prices.
        base_url: where the answer came from.
        batch: whether it was answered in a batch.
        cache_ttl: `prompt_cache_options.ttl` of the request.

    Raises:
        ConfigurationError: the answer has no usage, or the catalog has no price for its model.
    """
    if completion.usage is None:
        raise ConfigurationError(
            "the answer has no usage to count: a streamed one brings it with stream_options={'include_usage': True}"
        )
    calls = [call for choice in completion.choices for call in choice.message.tool_calls or ()]
    return catalog.cost(
        completion.usage,
        completion.model,
        currency=currency_of(base_url),
        batch=batch,
        cache_ttl=cache_ttl,
        web_searches=sum(call.function.name == _WEB_SEARCH for call in calls),
    )
