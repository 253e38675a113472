"""What an exception may show of an answer: no key, no account and no prompt, also where a server echoes them.

All but `Unseen` runs after something failed, never on the way of a call that succeeds.
"""

import json
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any, Final

import msgspec

from moonshot_async.errors import APIResponseValidationError
from moonshot_async.headers import REDACTED, Headers, is_secret_header, secrets_in_url, shown_value
from moonshot_async.types.model import parse, shallow
from moonshot_async.wire import Request

# Self-hosted services take words for keys, and prompts may be a word: to mask those would mangle what the server says.
# Whose frames are emptied: ours, and those that hand our arguments to a thread.
_PACKAGES: Final = (__name__.partition(".")[0], "anyio")
_SHORTEST_KEY: Final = 12
_SHORTEST_TEXT: Final = 6
# An echo may be cut: so much of a secret is enough to know it by, and what follows is compared.
_KNOWN_BY: Final = 24
# How much of a body is kept: looking for secrets takes time, and answers may have 256 MiB.
_MOST_BYTES: Final = 256 * 1024
# Rate limits and suspended accounts are told with the account's id, unlike any word.
# (Patterns are text: `re` compiles them when they are needed.)
_ACCOUNT: Final = r"(\b[Yy]our account )(?=\S*[\d<-])\S+(?: <[^<>\s]{1,80}>)?(?= (?:request|is|has)\b)"
# Ids of accounts and keys elsewhere, and whatever looks like a key: it may be another one than was sent.
_IDS: Final = r"(?<![\w-])(?:sk-[\w-]{20,}|(?:org|proj|ak)-(?=[\w-]{0,40}\d)[\w-]{8,})|(?<=Bearer )(?!\*)[\w.~+/-]{20,}"
# Of a message, what holds words of the API and nothing of the user's.
_WORDS: Final = frozenset({"role", "type", "id", "name", "tool_call_id", "url"})
# What `html.escape` does; its module brings a table of named characters that nobody needs here.
_IN_HTML: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"})
# A secret, and what becomes of it in JSON and HTML that stand in a text. Each of them works character by character.
_FORMS: Final[tuple[Callable[[str], str], ...]] = (
    str,
    lambda secret: json.dumps(secret)[1:-1],
    lambda secret: json.dumps(secret, ensure_ascii=False)[1:-1],
    lambda secret: secret.translate(_IN_HTML),
)


class _Function(msgspec.Struct):
    arguments: str | None = None


class _Call(msgspec.Struct):
    function: _Function | None = None


class _Part(msgspec.Struct):
    text: str | None = None


class _Message(msgspec.Struct):
    content: str | list[_Part] | None = None
    reasoning_content: str | None = None
    tool_calls: list[_Call] | None = None


class _Body(msgspec.Struct):
    """The texts of a request. What is not named here, base64 above all, is skipped without being decoded."""

    messages: list[_Message] = []
    prediction: _Message | None = None
    text_query: Any = None
    arguments: Any = None
    # What other surfaces of the API call messages.
    input: Any = None
    instructions: Any = None
    system: Any = None


@cache
def _decoder() -> msgspec.json.Decoder[_Body]:
    return msgspec.json.Decoder(_Body)


class Redactor:
    """Hides what belongs to one request and its answer.

    Args:
        request: what was sent.
        headers: of the answer.
    """

    def __init__(self, request: Request, headers: Headers) -> None:
        keys = {*_keys(request.headers), *_keys(headers)}
        keys.update(value for value in secrets_in_url(request.url) if len(value) >= _SHORTEST_KEY)
        self._secrets = _Secrets(keys | {*_texts(request.body)})

    def text(self, text: str) -> str:
        """A text without secrets; of one that is cut off, what there is of it goes too."""
        return re.sub(_IDS, REDACTED, re.sub(_ACCOUNT, rf"\g<1>{REDACTED}", self._secrets.hidden(text)))

    def content(self, content: bytes) -> bytes:
        """A body without secrets, however they are escaped in it; one without any stays as it is, up to 256 KiB."""
        content = content[:_MOST_BYTES]
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
        """Headers whose values hold no secrets."""
        return Headers((name, self.text(shown_value(name, value))) for name, value in headers.multi_items())


class _Secrets:
    """Finds secrets in a text, at a cost that hangs on the text alone: a long conversation has thousands of them.

    Each is known by how it begins, so that one look says what may begin at a place of the text.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        self._groups: dict[str, set[tuple[str, int]]] = {}
        for secret in secrets:
            for number, form in enumerate(_FORMS):
                # Cut before it is escaped: most secrets are long, and never looked for any further.
                self._groups.setdefault(form(secret[:_KNOWN_BY])[:_KNOWN_BY], set()).add((secret, number))
        self._beginnings = sorted(self._groups)
        self._openings = {beginning[:_SHORTEST_TEXT] for beginning in self._beginnings}
        self._lengths = sorted({len(beginning) for beginning in self._beginnings}, reverse=True)
        self._whole: dict[str, list[str]] = {}

    def hidden(self, text: str) -> str:
        """The text with each stretch that secrets cover replaced; they may overlap."""
        if not self._groups:
            return text
        pieces: list[str] = []
        shown = begin = end = 0
        for place in range(len(text) - _SHORTEST_TEXT + 1):
            if text[place : place + _SHORTEST_TEXT] not in self._openings:
                continue
            reached = place + self._length(text, place)
            if reached == place:
                continue
            if place >= end:
                if end > begin:
                    pieces += text[shown:begin], REDACTED
                    shown = end
                begin = place
            end = max(end, reached)
            if end == len(text):
                break
        if end > begin:
            pieces += text[shown:begin], REDACTED
            shown = end
        return "".join([*pieces, text[shown:]])

    def _length(self, text: str, place: int) -> int:
        """How much of a secret stands at a place of the text; 0 where it is not enough to be one."""
        if len(text) - place <= _KNOWN_BY:
            # At the end less of it is enough.
            rest = text[place:]
            found = bisect_left(self._beginnings, rest)
            if found < len(self._beginnings) and self._beginnings[found].startswith(rest):
                return len(rest)
        for length in self._lengths:
            beginning = text[place : place + length]
            if beginning in self._groups:
                return length if length < _KNOWN_BY else self._longest(text, place, beginning)
        return 0

    def _longest(self, text: str, place: int, beginning: str) -> int:
        """How far the secret goes that agrees with the text most, of those that begin alike."""
        if beginning not in self._whole:
            self._whole[beginning] = sorted({_FORMS[number](secret) for secret, number in self._groups[beginning]})
        whole = self._whole[beginning]
        rest = text[place:]
        found = bisect_left(whole, rest)
        return max(_common(rest, secret) for secret in whole[max(0, found - 1) : found + 1])


def _common(one: str, other: str) -> int:
    """How many characters two texts have in common at their beginnings."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _keys(headers: Headers) -> Iterator[str]:
    """Keys and account ids, without the schemes and names that stand before them."""
    for name, value in headers.multi_items():
        if is_secret_header(name):
            shortest = _SHORTEST_TEXT if name.lower().startswith("msh-") else _SHORTEST_KEY
            words = re.split(r"[;,\s]+", value)
            yield from (part for word in words for part in (word, word.partition("=")[2]) if len(part) >= shortest)


def _texts(body: object) -> Iterable[str]:
    """What a request says in its messages, or asks a tool."""
    if not isinstance(body, bytes):
        return ()
    try:
        asked = _decoder().decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        texts: list[Any] = list(_odd_texts(body))
    else:
        texts = [asked.text_query, asked.arguments]
        texts += _strings([asked.input, asked.instructions, asked.system])
        for message in (*asked.messages, *([asked.prediction] if asked.prediction else [])):
            content = message.content
            texts += [part.text for part in content] if isinstance(content, list) else [content]
            texts.append(message.reasoning_content)
            texts += [call.function.arguments for call in message.tool_calls or () if call.function]
    return (text for text in texts if isinstance(text, str) and len(text.strip()) >= _SHORTEST_TEXT)


def _odd_texts(body: bytes) -> Iterable[str]:
    """The texts of messages of another shape, which a server refuses, and perhaps repeats when it does; of a body that
    is no object, all there are.
    """
    try:
        tree = parse(body)
    except APIResponseValidationError:
        # Forms and other bytes.
        return [] if body.startswith((b"{", b"--")) else [body.decode("utf-8", "replace")]
    return _strings([tree.get("messages")] if isinstance(tree, dict) else [tree])


def _strings(left: list[Any]) -> Iterator[str]:
    """The texts in plain data, but for those that are words of the API."""
    while left:
        tree = left.pop()
        if isinstance(tree, str):
            yield tree
        elif isinstance(tree, list):
            left += tree
        elif isinstance(tree, dict):
            left += [value for name, value in tree.items() if name not in _WORDS]


class Unseen:
    """`with Unseen(params):` around what is done with the arguments of a call before anything is sent.

    Error trackers record the locals of each frame that an exception went through. So the arguments are emptied when it
    is over, and when it fails the frames below are, too: what was given is in the request then, which does not show it.

    Args:
        params: keywords, as `**params` collects them.
    """

    __slots__ = ("_params",)

    def __init__(self, params: Any) -> None:
        self._params = params

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._params.clear()
        if error is not None:
            forget_locals(error)


def forget_locals(error: BaseException) -> None:
    """Empty the frames of this package that an exception, and those that it came of, went through.

    Those that still run keep what they have, and so do the ones of functions that the caller brought.
    """
    left, seen = [error], {id(error)}
    while left:
        one = left.pop()
        trace = one.__traceback__
        while trace is not None:
            frame, trace = trace.tb_frame, trace.tb_next
            if frame.f_globals.get("__name__", "").startswith(_PACKAGES):
                try:
                    frame.clear()
                except RuntimeError:
                    pass
        for more in (one.__cause__, one.__context__):
            if more is not None and id(more) not in seen:
                seen.add(id(more))
                left.append(more)
