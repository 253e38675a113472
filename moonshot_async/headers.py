"""HTTP headers: case-insensitive, checked before they are sent, and safe to show."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias, TypeVar, overload

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
    }
)
REDACTED: Final = "***"

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_UNSAFE_IN_VALUE: Final = re.compile(r"[\r\n\0]")


class Headers(Mapping[str, str]):
    """Case-insensitive, immutable headers in the order they came; repr and pickle hide secret values."""

    __slots__ = ("_index", "_items")

    def __init__(self, items: HeaderItems = ()) -> None:
        self._items: tuple[tuple[str, str], ...]
        if isinstance(items, Headers):
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
        for name, value in self._items:
            if not isinstance(name, str) or not _TOKEN.fullmatch(name):
                raise ConfigurationError(f"header name {name!r} is not valid")
            if not isinstance(value, str) or _UNSAFE_IN_VALUE.search(value):
                raise ConfigurationError(f"the value of header {name!r} must be text without CR, LF or NUL")
        return self

    def redacted(self) -> "Headers":
        """A copy that is safe to show: the values of secret headers replaced."""
        return Headers((name, REDACTED if name.lower() in SECRET_HEADERS else value) for name, value in self._items)

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
