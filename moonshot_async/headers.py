"""HTTP headers: case-insensitive, checked before they are sent, and safe to show; and what else may be shown."""

import re
from collections.abc import Iterable, Iterator, Mapping
from string import ascii_letters
from typing import Any, Final, TypeAlias, TypeVar, overload
from urllib.parse import unquote_plus

import msgspec

from moonshot_async.errors import ConfigurationError

D = TypeVar("D")

HeaderItems: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]

# Values that identify or unlock an account never leave the process through a repr, a log or a pickle.
SECRET_HEADERS: Final = frozenset(
    {
        "authorization",
        "proxy-authorization",
        "cookie",
        "set-cookie",
        "x-api-key",
        "api-key",
        "msh-org-id",
        "msh-uid",
        "msh-project-id",
        "msh-gid",
        "openai-organization",
        "openai-project",
    }
)
REDACTED: Final = "***"

# So are headers and parameters of URLs called that hold keys, whoever thought of them. Patterns are text, which `re`
# compiles when it first meets it: most programs need none of these, and all together take 1.2 ms.
_SECRET_NAME: Final = r"""(?ix)
    authori[sz]ation | cookie | secret | passw | passphrase | credential | session | signature
    | key $
    | (?:^|[-_.])(?:auth|jwt|sid|pwd|sig) (?:$|[-_.])
    | (?:^|[-_.]) (?:access|refresh|id|api|auth|bearer|security|csrf|xsrf)? token $
    | (?:access|refresh|api|auth|bearer) token $"""
# The vendor's proof of what was asked, and a name for a call, are wanted by the reader of an error.
_PUBLIC: Final = frozenset({"idempotency-key", "x-idempotency-key", "msh-request-signature"})
_USER_INFO: Final = r"(?<=//)[^/?#]*@"
_PARAMETER: Final = r"(?<=[?&#;])([^=?&#;]*)=([^&#;]+)"

# RFC 9110, 5.6.2.
_TOKEN_CHARS: Final = "!#$%&'*+-.^_`|~0123456789" + ascii_letters
_UNSAFE_IN_VALUE: Final = r"[\r\n\0]"
# RFC 9110, 5.5; and halves of characters, which have no bytes.
_UNSENDABLE: Final = r"[\0-\x08\n-\x1f\x7f\ud800-\udfff]"
_FRAMING: Final = frozenset({"content-length", "transfer-encoding"})


class Unshown:
    """Before `msgspec.Struct` among the bases of a struct that shows no fields: they hold a key, or what is asked."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Nothing: rich would show the fields."""
        return []


class Headers(Mapping[str, str]):
    """Case-insensitive, immutable headers in the order they came; repr and pickle hide secret values."""

    __slots__ = ("_index", "_items")

    def __init__(self, items: HeaderItems = ()) -> None:
        self._items: tuple[tuple[str, str], ...]
        # First what transports give: to ask an abstract class costs 0.5 µs.
        if type(items) is tuple:
            self._items = items
        elif isinstance(items, Headers):
            self._items = items._items
        else:
            self._items = tuple(items.items() if isinstance(items, Mapping) else items)
        self._index: dict[str, str] | None = None

    def multi_items(self) -> tuple[tuple[str, str], ...]:
        """Every pair in order, repeated names included."""
        return self._items

    def merged(self, more: Mapping[str, str | None]) -> "Headers":
        """These headers with `more` laid over them; a value of None takes a header out."""
        dropped = {name.lower() for name in more}
        kept = [item for item in self._items if item[0].lower() not in dropped]
        return Headers([*kept, *((name, value) for name, value in more.items() if value is not None)])

    def checked(self) -> "Headers":
        """These headers, if they can be sent.

        Raises:
            ConfigurationError: a name is no token (RFC 9110, 5.6.2), or a value would end its line early.
        """
        if problem := next(filter(None, map(_problem, self._items)), None):
            raise ConfigurationError(problem)
        return self

    def redacted(self) -> "Headers":
        """A copy that is safe to show: the values of secret headers replaced, and what is secret in URLs."""
        return Headers((_shown_name(name), shown_value(name, value)) for name, value in self._items)

    def _lookup(self) -> dict[str, str]:
        if self._index is None:
            index: dict[str, str] = {}
            for name, value in self._items:
                key = name.lower()
                index[key] = f"{index[key]}, {value}" if key in index else value
            self._index = index
        return self._index

    def __getitem__(self, name: str) -> str:
        return self._lookup()[name.lower()]

    @overload
    def get(self, name: str, /) -> str | None: ...

    @overload
    def get(self, name: str, /, default: str | D) -> str | D: ...

    def get(self, name: str, /, default: str | D | None = None) -> str | D | None:
        """The value under `name`. (Mapping's own way raises and catches: ten times as much for an absent header.)"""
        return self._lookup().get(name.lower(), default)

    def first(self, *names: str) -> str | None:
        """The first value there is, and is not empty, under these names, which are in lower case."""
        lookup = self._lookup()
        for name in names:
            if value := lookup.get(name):
                return value
        return None

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._lookup()

    def __iter__(self) -> Iterator[str]:
        return iter({name.lower(): name for name, _ in self._items}.values())

    def __len__(self) -> int:
        return len(self._lookup())

    def __repr__(self) -> str:
        return f"Headers({list(self.redacted()._items)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Headers, (list(self.redacted()._items),)

    # Copies go through pickling otherwise, which hides the secrets; what cannot change needs no copy.
    def __copy__(self) -> "Headers":
        return self

    def __deepcopy__(self, memo: object) -> "Headers":
        return self


def without_not_given(headers: Mapping[str, str | None]) -> dict[str, str | None]:
    """Headers in which `NOT_GIVEN` takes a header out, as None does.

    Raises:
        ConfigurationError: they are no headers.
    """
    if not isinstance(headers, Mapping) or not all(isinstance(name, str) for name in headers):
        raise ConfigurationError("headers must be a mapping of names to values, both text")
    return {name: None if isinstance(value, msgspec.UnsetType) else value for name, value in headers.items()}


def is_secret_header(name: str) -> bool:
    """Whether a header of this name holds a key or names an account."""
    lower = str(name).lower()
    return lower in SECRET_HEADERS or is_secret_parameter(lower)


def shown_value(name: str, value: str) -> str:
    """The value of a header as it may be shown."""
    if is_secret_header(name) or not isinstance(value, str) or re.search(_UNSAFE_IN_VALUE, value):
        return REDACTED
    return shown_url(value) if str(name).lower() in ("location", "content-location", "referer", "link") else value


def shown_url(url: str) -> str:
    """A URL as it may be shown: without user and password, and without the values of parameters that hold keys."""
    if "@" in url:
        url = re.sub(_USER_INFO, f"{REDACTED}@", url)
    if "=" not in url:
        return url
    return re.sub(_PARAMETER, _shown_parameter, url)


def secrets_in_url(url: str) -> Iterator[str]:
    """What `shown_url` hides, as it stands in the URL."""
    if user := re.search(_USER_INFO, url):
        yield from user[0].rstrip("@").split(":")
    for name, value in re.findall(_PARAMETER, url):
        if is_secret_parameter(name):
            yield from {value, unquote_plus(value)}


def is_secret_parameter(name: str) -> bool:
    """Whether a parameter of this name, in a URL, holds a key."""
    return re.search(_SECRET_NAME, name) is not None and name.lower() not in _PUBLIC


def _shown_parameter(found: re.Match[str]) -> str:
    return f"{found[1]}={REDACTED}" if is_secret_parameter(found[1]) else found[0]


def _sendable(value: str) -> bool:
    return (value.isascii() and value.isprintable()) or not re.search(_UNSENDABLE, value)


def _shown_name(name: object) -> str:
    """A name as far as it could be one: it may be a whole line, with its value."""
    return name[: len(name) - len(name.lstrip(_TOKEN_CHARS))] if isinstance(name, str) else ""


def _problem(item: tuple[object, object]) -> str | None:
    """Why a header cannot be sent, without showing its value."""
    name, value = item
    if not isinstance(name, str) or not name or name.strip(_TOKEN_CHARS):
        return f"header name {_shown_name(name)!r} is not valid"
    if not isinstance(value, str) or not _sendable(value):
        return f"the value of header {name!r} must be text without CR, LF, NUL and other control characters"
    if name.lower() in _FRAMING:
        return f"header {name!r} is set by the SDK: another value would cut the body, or part it in two requests"
    return None
