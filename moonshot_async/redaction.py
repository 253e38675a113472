"""What an exception may show of an answer: no key, no account and no prompt, also where a server echoes them.

Everything here runs after something failed, never on the way of a call that succeeds.
"""

import html
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from moonshot_async.errors import APIResponseValidationError
from moonshot_async.types.model import parse, shallow
from moonshot_async.wire import REDACTED, SECRET_HEADERS, Headers, Request

# Self-hosted services take words for keys, and prompts may be a word: to mask those would mangle what the server says.
_SHORTEST_KEY: Final = 12
_SHORTEST_TEXT: Final = 6
# An echo may be cut: so much of a secret is enough to know it by, and what follows is compared.
_KNOWN_BY: Final = 24
# Rate limits and suspended accounts are told with the account's id, unlike any word.
_ACCOUNT: Final = re.compile(r"(\b[Yy]our account )(?=\S*[\d<-])\S+(?= (?:request|is|has)\b)")


class _Function(msgspec.Struct):
    arguments: Any = None


class _Call(msgspec.Struct):
    function: _Function | None = None


class _Part(msgspec.Struct):
    text: Any = None


class _Message(msgspec.Struct):
    content: str | list[_Part] | None = None
    reasoning_content: Any = None
    tool_calls: list[_Call] | None = None


class _Body(msgspec.Struct):
    """The texts of a request. What is not named here, base64 above all, is skipped without being decoded."""

    messages: list[_Message] = []
    text_query: Any = None
    arguments: Any = None


_decode = msgspec.json.Decoder(_Body).decode


class Redactor:
    """Hides what belongs to one request and its answer.

    Args:
        request: what was sent.
        headers: of the answer.
    """

    def __init__(self, request: Request, headers: Headers) -> None:
        found = {*_keys(request.headers), *_keys(headers), *_texts(request.body)}
        # Longest first: one may be the beginning of another.
        self._secrets = sorted({form for secret in found for form in _forms(secret)}, key=len, reverse=True)

    def text(self, text: str) -> str:
        """A text without secrets; of one that is cut off, what there is of it goes too."""
        for secret in self._secrets:
            text = text.replace(secret, REDACTED)
        for secret in self._secrets:
            text = _without_beginning(text, secret)
        return _ACCOUNT.sub(rf"\g<1>{REDACTED}", text)

    def content(self, content: bytes) -> bytes:
        """A body without secrets, however they are escaped in it; one without any stays as it is."""
        try:
            tree = shallow(parse(content))
        except APIResponseValidationError:
            tree = None
        if (clean := self.tree(tree)) != tree:
            return msgspec.json.encode(clean)
        text = content.decode("utf-8", "replace")
        return content if (shown := self.text(text)) == text else shown.encode()

    def tree(self, tree: Any) -> Any:
        """Plain data without secrets; not deeper than `shallow` leaves it."""
        if isinstance(tree, dict):
            return {self.text(name): self.tree(value) for name, value in tree.items()}
        if isinstance(tree, list):
            return [self.tree(item) for item in tree]
        return self.text(tree) if isinstance(tree, str) else tree

    def headers(self, headers: Headers) -> Headers:
        """Headers whose values hold no secrets, but for those that are known to: `Headers` hides them itself."""
        return Headers(
            (name, value if name.lower() in SECRET_HEADERS else self.text(value))
            for name, value in headers.multi_items()
        )


def _forms(secret: str) -> Iterator[str]:
    """A secret, and what becomes of it in JSON and HTML that stand in a text."""
    yield secret
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield html.escape(secret)


def _without_beginning(text: str, secret: str) -> str:
    """Replace the beginning of `secret` in `text`, as far as it goes; at the end of the text less of it is enough."""
    beginning = secret[:_KNOWN_BY]
    pieces: list[str] = []
    place = 0
    while (found := text.find(beginning, place)) >= 0:
        pieces += text[place:found], REDACTED
        place, known = found + len(beginning), len(beginning)
        while place < len(text) and known < len(secret) and text[place] == secret[known]:
            place, known = place + 1, known + 1
    tail = text[place:]
    for length in range(min(len(beginning) - 1, len(tail)), _SHORTEST_TEXT - 1, -1):
        if tail.endswith(beginning[:length]):
            tail = tail[: len(tail) - length] + REDACTED
            break
    return "".join([*pieces, tail])


def _keys(headers: Headers) -> Iterator[str]:
    """Keys and account ids, without the schemes and names that stand before them."""
    for name, value in headers.multi_items():
        if name.lower() in SECRET_HEADERS:
            shortest = _SHORTEST_TEXT if name.lower().startswith("msh-") else _SHORTEST_KEY
            words = re.split(r"[;,\s]+", value)
            yield from (part for word in words for part in (word, word.partition("=")[2]) if len(part) >= shortest)


def _texts(body: object) -> Iterable[str]:
    """What a request says in its messages, or asks a tool."""
    if not isinstance(body, bytes) or not body.startswith(b"{"):
        return ()
    try:
        asked = _decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return ()
    texts: list[Any] = [asked.text_query, asked.arguments]
    for message in asked.messages:
        content = message.content
        texts += [part.text for part in content] if isinstance(content, list) else [content]
        texts.append(message.reasoning_content)
        texts += [call.function.arguments for call in message.tool_calls or () if call.function]
    return (text for text in texts if isinstance(text, str) and len(text.strip()) >= _SHORTEST_TEXT)
