"""From the requests of a run to what is sent, checked and known by a key.

See: https://platform.kimi.ai/docs/api/chat
"""

from collections.abc import Mapping
from hashlib import blake2b
from struct import Struct
from typing import Any, Final, TypeAlias

import msgspec

from moonshot_async.errors import APIResponseValidationError, ConfigurationError
from moonshot_async.headers import Unshown
from moonshot_async.redaction import forget_locals
from moonshot_async.resources.batch_lines import BatchRequest
from moonshot_async.resources.schema_check import check_schemas
from moonshot_async.types.batches import CHAT_ENDPOINT
from moonshot_async.types.chat_params import CompletionRequest
from moonshot_async.types.encoding import build, encode, is_type, message_params, only_texts
from moonshot_async.types.model import parse

AnyRequest: TypeAlias = BatchRequest | tuple[str, Mapping[str, Any]] | Mapping[str, Any] | str | bytes

_DIGEST_BYTES: Final = 16
_CHECKED: Final = frozenset({"tools", "response_format"})
_KNOWN: Final = frozenset(CompletionRequest.__struct_fields__)
# The keywords that are sent as they are said, whatever they are.
_PLAIN: Final = _KNOWN - _CHECKED - {"stream"} | {"custom_id"}
_KEY: Final = Struct(">q")
_FORMS: Final = (
    "BatchRequest(custom_id, body), (custom_id, keywords of a chat completion), such keywords alone, "
    "or a line of JSON: of the Batch API, or the body of a chat completion"
)


class Item(Unshown, msgspec.Struct, gc=False):
    """One request of a run.

    Attributes:
        key: what it is looked up by in the journal: a number of 64 bits made of its id, or of its body where it has
            none.
        id: that was given; None for none.
        digest: 16 bytes made of its body, however that is ordered.
        body: as it is sent.
        position: among the requests of this start, from 1; 0 for what was taken out of the journal.
        number: in the journal; 0 before it is there.
        turn: its place among those that are handed out in this start.
        tries: how often it was put back since it came in; `put_back_at`: when it was for the first time, on the
            `time.monotonic` clock.
        failures: the sendings that failed so far: error, seconds that it took, seconds waited afterwards.
        limit_wait, retry_wait: seconds that it waited so far, for limits of the account and between sendings.
    """

    key: int
    id: str | None
    digest: bytes
    body: bytes
    position: int = 0
    number: int = 0
    turn: int = 0
    tries: int = 0
    put_back_at: float = 0.0
    failures: tuple[tuple[str, float, float], ...] = ()
    limit_wait: float = 0.0
    retry_wait: float = 0.0

    @property
    def name(self) -> str:
        """The id of its result."""
        return self.digest.hex() if self.id is None else self.id


class ItemMaker:
    """Makes items of requests, in order.

    Args:
        defaults: keywords of `chat.completions.create` for requests that do not name them, `model` included.

    Attributes:
        position: of the last request, from 1.

    Raises:
        TypeError: a default is no keyword of `create`, or one that bulk work does not take.
        ConfigurationError: one that cannot be sent.
    """

    def __init__(self, defaults: Mapping[str, Any]) -> None:
        self._defaults = {"model": "", **defaults}
        for name in ("stream", "stream_options"):
            if name in self._defaults:
                raise TypeError(f"bulk() takes no {name}: answers are read whole")
        # What is the same for all is checked, and read to its end, once.
        checked = build(CompletionRequest, {"messages": [], **self._defaults}, call="bulk")
        check_schemas(checked)
        if "tools" in self._defaults:
            self._defaults["tools"] = checked.tools
        self._plain_names = frozenset() if "extra_body" in defaults else _PLAIN
        self.position = 0
        self._lines = 0

    def item(self, request: AnyRequest) -> Item | None:
        """The item of a request; None for an empty line.

        Raises:
            ConfigurationError: it cannot be sent; names it.
        """
        if type(request) is dict and self._plain_names.issuperset(request):
            item = self._plain_item(request)
            if item is not None:
                return item
        if isinstance(request, (str, bytes)):
            self._lines += 1
            if not request.strip():
                return None
        self.position += 1
        given: Any = None
        where = f"line {self._lines}" if isinstance(request, (str, bytes)) else ""
        try:
            given, fields, whole = self._parts(request)
            if given is not None and not (isinstance(given, str) and given and _is_clean(given)):
                raise TypeError("its custom_id must be a text that is not empty, and has no lone surrogates")
            body, canonical = self._body(fields, whole)
        except (TypeError, ConfigurationError) as error:
            # Requests are prompts, and error trackers record the locals of frames.
            forget_locals(error)
            problem = str(error)
        else:
            return _item(given, body, canonical, self.position)
        finally:
            del request
            fields = None
        id = f"custom_id {given!r}" if isinstance(given, str) and given else ""
        named = ", ".join(filter(None, (where, id)))
        raise ConfigurationError(f"request {self.position}{f' ({named})' if named else ''}: {problem}")

    def _plain_item(self, request: dict[str, Any]) -> Item | None:
        """The item of plain keywords and texts, which most are; None where more is to be said, or to be looked at."""
        params = {**self._defaults, **request}
        id, messages = params.pop("custom_id", None), params.get("messages")
        if type(messages) is not list or not params["model"] or not only_texts(messages):
            return None
        if id is not None and (type(id) is not str or not id):
            return None
        try:
            asked = build(CompletionRequest, params, call="bulk")
            item = _item(id, encode(asked), _canonical(asked), self.position + 1)
        except (TypeError, ConfigurationError, UnicodeEncodeError):
            return None
        self.position += 1
        return item

    def _parts(self, request: Any) -> tuple[Any, Any, bool]:
        """The id, the body, and whether that is to be sent as it was written."""
        as_written = isinstance(request, (str, bytes))
        if as_written:
            request = _decoded(request)
        # Plain dicts, the most by far, need no look at what they are.
        if type(request) is dict or isinstance(request, Mapping):
            if "body" in request:
                _check_line(request)
                return request.get("custom_id"), request["body"], True
            fields = dict(request)
            return fields.pop("custom_id", None), fields, as_written
        if isinstance(request, BatchRequest):
            return request.custom_id, request.body, False
        if isinstance(request, tuple) and len(request) == 2:
            return request[0], request[1], False
        raise TypeError(f"a request is {_FORMS}, not {type(request).__name__}")

    def _body(self, fields: Any, as_written: bool) -> tuple[bytes, bytes]:
        """The body as it is sent, and what it is known by, which is the same in whatever order its fields stand."""
        if type(fields) is not dict and not isinstance(fields, Mapping):
            raise TypeError(f"its body must be an object such as {{'messages': [...]}}, not {type(fields).__name__}")
        params = {**self._defaults, **fields}
        if params.get("stream"):
            raise TypeError("it streams, which bulk work does not: leave stream out")
        params.pop("stream", None)
        extra_body = params.pop("extra_body", None) or None
        if as_written:
            # What the API knows better than this client stays.
            unknown = {name: params.pop(name) for name in params.keys() - _KNOWN}
            extra_body = {**unknown, **(extra_body or {})} or None
        request = build(CompletionRequest, params, call="bulk")
        if not request.model:
            raise TypeError("it names no model: name one there, or pass model=")
        if not _CHECKED.isdisjoint(fields):
            if is_type(request.response_format):
                raise TypeError("its response_format is a type: pass that as response_format= of the run, for all")
            check_schemas(request)
        request.messages = message_params(request.messages)
        body = encode(request, extra_body)
        if extra_body is None:
            try:
                return body, _canonical(request)
            except TypeError:
                pass  # It holds objects that only `encode` knows.
        return body, _canonical(msgspec.json.decode(body))


def item_of(id: str | None, body: bytes, number: int) -> Item:
    """An item that was taken out of the journal."""
    item = _item(id, body, _canonical(msgspec.json.decode(body)), 0)
    item.number = number
    return item


def key_of(id: str | None, digest: bytes) -> int:
    """The key of an item; see `Item`."""
    known_by = digest if id is None else _digest(b"id:" + id.encode())
    key: int = _KEY.unpack_from(known_by)[0]
    return key


def _item(id: str | None, body: bytes, canonical: bytes, position: int) -> Item:
    digest = _digest(canonical)
    return Item(key_of(id, digest), id, digest, body, position)


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=_DIGEST_BYTES).digest()


def _is_clean(text: str) -> bool:
    """Whether a text can be written down."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def _decoded(line: str | bytes) -> Any:
    try:
        tree = parse(line if isinstance(line, bytes) else line.encode("utf-8", "replace"))
    except APIResponseValidationError:
        tree = None
    # Out here, since that error holds what the line says.
    if not isinstance(tree, dict):
        raise TypeError("its line is no JSON object")
    return tree


def _check_line(line: Mapping[str, Any]) -> None:
    if line.get("method", "POST") != "POST" or line.get("url", CHAT_ENDPOINT) != CHAT_ENDPOINT:
        raise ConfigurationError(f"its method must be 'POST' and its url {CHAT_ENDPOINT!r}")


# Whoever writes the fields of a request in another order asks the same.
_canonical = msgspec.json.Encoder(order="sorted").encode
