"""What a request will count: its prompt, as far as its bytes tell, and what its answer may have.

The service counts tokens that only its tokenizer knows. Here a token is four bytes of the JSON of the messages, tools
and schema, which is more than texts in English or Chinese have; how much more (or less) is learned from the answers.

See: https://platform.kimi.ai/docs/pricing/limits
"""

import math
from typing import TYPE_CHECKING, Final

import msgspec

from moonshot_async.middleware.limit_store import Need
from moonshot_async.wire import Upload

if TYPE_CHECKING:
    from moonshot_async.catalog import Catalog

_BYTES_PER_TOKEN: Final = 4
# The most that one counts; what it really was is settled by the answer.
_MEDIA_TOKENS: Final = {"image_url": 4096, "video_url": 8192, "input_image": 4096, "image": 4096}
# A search that says it found more than fits into a window does not mean it.
_MOST_FOUND: Final = 1_000_000

# Shorter prompts are mostly what the service puts around them: they say nothing of texts.
_LEARN_FROM: Final = 256
_LOWEST, _HIGHEST = 0.5, 8.0
# A text that counts less brings the ratio down by this part of the difference; one that counts more, up to it at once.
_EASE: Final = 0.02
# Ids of models are few; what callers make up is not kept without end.
_MOST_MODELS: Final = 64

_BRACKET: Final = ord("[")
_NOTHING: Final = msgspec.Raw(b"")


class Estimate(Need, frozen=True, gc=False):
    """What a request will count, and of what it is made.

    Attributes:
        text, media: tokens of the prompt that are text, and that are media or results of searches, before anything
            that was learned.
    """

    text: int
    media: int


class Estimates:
    """Estimates, and what answers teach about them.

    Args:
        catalog: knows what an answer may have where a request does not say; None for the vendor's.
    """

    def __init__(self, catalog: "Catalog | None") -> None:
        self._catalog = catalog
        self._defaults: dict[str, int] = {}
        self._text_ratio = 1.0
        self._media_ratio = 1.0

    def of(self, body: bytes | Upload) -> Estimate:
        """What a request of this body will count. One that makes no sense counts as many bytes do."""
        asked, text, media = _read(body) if isinstance(body, bytes) else (_Asked(), text_tokens(body.length), 0)
        prompt = math.ceil(text * self._text_ratio + media * self._media_ratio)
        most = asked.max_completion_tokens or asked.max_tokens or asked.max_output_tokens or 0
        return Estimate(max(1, prompt), most if most > 0 else self._default(asked.model), text, media)

    def learn(self, estimate: Estimate, prompt_tokens: int) -> None:
        """Take note of what a prompt really counted. Needs no lock: what one thread overwrites, the next answer says.

        Media only ever turn out to count more: a small image says nothing of the next one.
        """
        text, media = estimate.text, estimate.media
        if media:
            seen = (prompt_tokens - math.ceil(text * self._text_ratio)) / media
            self._media_ratio = min(max(seen, self._media_ratio), _HIGHEST)
        elif text >= _LEARN_FROM:
            seen = min(max(prompt_tokens / text, _LOWEST), _HIGHEST)
            ratio = self._text_ratio
            self._text_ratio = seen if seen > ratio else ratio + (seen - ratio) * _EASE

    def _default(self, model: str) -> int:
        """What an answer of this model may have where the request does not say."""
        known = self._defaults.get(model)
        if known is None:
            known = _default_of(model, self._catalog)
            if len(self._defaults) < _MOST_MODELS:
                self._defaults[model] = known
        return known


def message_tokens(message: bytes | msgspec.Raw) -> tuple[int, int]:
    """Estimate what one message counts: tokens of text, and of media and searches.

    Args:
        message: its JSON. What its media are is not looked at, so that their URLs may be left out.

    Raises:
        msgspec.DecodeError: it is no message.
    """
    asked, size, media = _MESSAGE.decode(message), len(message), 0
    if _is_list(asked.content):
        for part in _RAWS.decode(asked.content):
            if counts := _MEDIA_TOKENS.get(_PART.decode(part).type):
                size -= len(part)
                media += counts
    elif asked.role == "tool":
        media += _found(asked.content)
    return text_tokens(size), media


def text_tokens(size: int) -> int:
    """Estimate the tokens of so many bytes of JSON or text."""
    return -(-size // _BYTES_PER_TOKEN)


class _Asked(msgspec.Struct):
    """What matters of a body, of all three surfaces of the API; the texts are not decoded."""

    model: str = ""
    messages: list[msgspec.Raw] = []
    input: msgspec.Raw = _NOTHING
    instructions: msgspec.Raw = _NOTHING
    system: msgspec.Raw = _NOTHING
    tools: msgspec.Raw = _NOTHING
    response_format: msgspec.Raw = _NOTHING
    max_completion_tokens: int | None = None
    max_tokens: int | None = None
    max_output_tokens: int | None = None


class _Message(msgspec.Struct):
    role: str = ""
    content: msgspec.Raw = _NOTHING


class _Part(msgspec.Struct):
    type: str = ""


class _Used(msgspec.Struct):
    total_tokens: int = 0


class _Found(msgspec.Struct):
    """What a search that the service made says of itself, as the caller echoes it."""

    usage: _Used


_ASKED: Final = msgspec.json.Decoder(_Asked)
_MESSAGE: Final = msgspec.json.Decoder(_Message)
_RAWS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_PART: Final = msgspec.json.Decoder(_Part)
_TEXT: Final = msgspec.json.Decoder(str)
_FOUND: Final = msgspec.json.Decoder(_Found)


def _read(body: bytes) -> tuple[_Asked, int, int]:
    """What a body asks for, and its tokens of text and of media."""
    try:
        asked = _ASKED.decode(body)
        return asked, *_prompt(asked)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Asked(), text_tokens(len(body)), 0


def _prompt(asked: _Asked) -> tuple[int, int]:
    """Tokens of text, and of media and searches."""
    messages = asked.messages
    # Each of them is counted by itself, and rounded up.
    text = sum(
        text_tokens(len(raw)) for raw in (asked.tools, asked.response_format, asked.system, asked.instructions) if raw
    )
    if asked.input:
        if _is_list(asked.input):
            messages = _RAWS.decode(asked.input)
        else:
            text += text_tokens(len(asked.input))
    media = 0
    for raw in messages:
        of_text, of_media = message_tokens(raw)
        text += of_text
        media += of_media
    return text, media


def _is_list(raw: msgspec.Raw) -> bool:
    return len(raw) > 0 and memoryview(raw)[0] == _BRACKET


def _found(content: msgspec.Raw) -> int:
    """Tokens that a search brought, which the service puts into the prompt."""
    if b"search_id" not in bytes(content):
        return 0
    try:
        tokens = _FOUND.decode(_TEXT.decode(content)).usage.total_tokens
    except msgspec.DecodeError:
        return 0
    return max(0, min(tokens, _MOST_FOUND))


def _default_of(model: str, catalog: "Catalog | None") -> int:
    """By the longest id that the model's begins with (ids may be dated); what nobody knows may have the most."""
    if catalog is None:
        # Imported late: whoever keeps no limits needs no catalog.
        from moonshot_async.catalog import CATALOG

        catalog = CATALOG
    known = catalog.models
    begins = [id for id in known if model.startswith(id)]
    if begins:
        return known[max(begins, key=len)].default_output_tokens
    return max((entry.default_output_tokens for entry in known.values()), default=0)
