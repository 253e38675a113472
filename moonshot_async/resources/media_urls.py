"""A check before sending: images and videos behind URLs that Moonshot's own hosts do not fetch.

They answer such a message with a 400. Other hosts of Kimi models may fetch http(s) URLs themselves, so nothing is
refused there; this package never fetches one.

See: https://platform.kimi.ai/docs/guide/use-kimi-vision-model
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from moonshot_async.errors import ConfigurationError

_VENDOR_HOSTS: Final = (".moonshot.cn", ".moonshot.ai")
_REFUSED: Final = ("http:", "https:", "file:", "ftp:")
_LONGEST_SCHEME: Final = 8


def check_media_urls(messages: Iterable[Any], base_url: str) -> None:
    """Refuse http(s) and file URLs in `image_url` and `video_url` parts, where the host is one of Moonshot's.

    A message whose content is text costs a look at its type, 0.06 µs. (To search the encoded body for "image_url" costs
    as much as to encode it.)

    Args:
        messages: as `message_params` makes them: dicts.
        base_url: where they are going to.

    Raises:
        ConfigurationError: names the first such part, and what to do.
    """
    if not _is_vendor(base_url):
        return
    for number, message in enumerate(messages):
        if type(message) is not dict or type(parts := message.get("content")) is str:
            continue
        if isinstance(parts, (list, tuple)):
            found = _refused_part(parts)
            if found is not None:
                raise ConfigurationError(_advice(f"messages[{number}].content[{found[0]}]", *found[1:]))


def _refused_part(parts: Sequence[Any]) -> tuple[int, str, str] | None:
    """The place of the first part with such a URL, its type and the scheme."""
    for place, part in enumerate(parts):
        if isinstance(part, dict) and (kind := part.get("type")) != "text" and kind in ("image_url", "video_url"):
            media = part.get(kind)
            url = media.get("url") if isinstance(media, dict) else media
            # A data: URL may be long: it is not copied.
            if isinstance(url, str) and (head := url.lstrip()[:_LONGEST_SCHEME].lower()).startswith(_REFUSED):
                return place, kind, head.partition(":")[0]
    return None


def _is_vendor(base_url: str) -> bool:
    host = (urlsplit(base_url).hostname or "").rstrip(".")
    return f".{host}".endswith(_VENDOR_HOSTS)


def _advice(where: str, kind: str, scheme: str) -> str:
    name = kind.removesuffix("_url")
    return (
        f"{where}: the API fetches no {scheme} URLs in {kind}. Read the {name} and send its bytes, "
        f'`await media.{name}(Path("…"))` (moonshot_async.toolkit.media), or upload it with '
        f'`client.files.create(file=…, purpose="{name}")` and send "ms://" and its id.'
    )
