"""What images and videos cost, before they are sent.

See: https://platform.kimi.ai/docs/api/estimate
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from moonshot_async.errors import ConfigurationError

if TYPE_CHECKING:
    from moonshot_async.client import AsyncMoonshot


async def estimate_tokens(client: "AsyncMoonshot", content: Any, *, model: str) -> int:
    """How many tokens something is for a model, as the service estimates it; it alone knows what images and videos are.

    What is in the parts themselves (`data:` URLs) is sent along; to ask about a file that was uploaded costs little.

    Args:
        client: asks the service.
        content: text, a part, a list of parts, a message, or a list of messages.
        model: the id.

    Raises:
        ConfigurationError: there is nothing to count.
        APIError: in all its kinds.

    See: https://platform.kimi.ai/docs/api/estimate
    """
    try:
        counting = client.tokenizers.estimate_token_count(model=model, messages=_messages(content))
    finally:
        del content
    return (await counting).total_tokens


def _messages(content: Any) -> list[Any]:
    if isinstance(content, Mapping) or hasattr(content, "role"):
        content = [content]
    elif not isinstance(content, str) and isinstance(content, Iterable):
        content = list(content)
    if not content:
        raise ConfigurationError("there is nothing to count: give text, parts or messages")
    if isinstance(content, str) or not _is_message(content[0]):
        return [{"role": "user", "content": content}]
    return list(content)


def _is_message(item: object) -> bool:
    return "role" in item if isinstance(item, Mapping) else hasattr(item, "role")
