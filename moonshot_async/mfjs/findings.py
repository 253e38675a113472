"""What is wrong with a schema: where, in one word, and what to do about it."""

from typing import Any, Final, Literal, get_args

import msgspec

Level = Literal["loose", "lite", "service", "strict"]
LEVELS: Final[tuple[Level, ...]] = get_args(Level)

Path = tuple[str | int, ...]
# A schema, as JSON has it.
Node = dict[str, Any]


class Finding(msgspec.Struct, frozen=True):
    """One fault of a schema.

    Attributes:
        pointer: where it is in the schema that was given, as a JSON pointer (RFC 6901); empty for the whole of it.
        code: which rule it breaks, for example `type-beside-anyof`; codes stay as they are between versions.
        message: what to do, in one sentence.
        level: the lowest level at which it counts.
    """

    pointer: str
    code: str
    message: str
    level: Level

    def __str__(self) -> str:
        return f"at {self.pointer or 'the root'}: {self.message} ({self.code})"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How large a schema may be; unless given, what the service allows.

    Attributes:
        max_bytes: of the whole schema as compact JSON.
        max_depth: objects in properties of objects, references followed.
        max_properties: names in all `properties` together.
        max_branches: in one `anyOf`.
        max_enum: values in one `enum`.
        max_enum_characters: of the values of one `enum` together, where it has more than `long_enum`.
        long_enum: how many values those are.
    """

    max_bytes: int = 120_000
    max_depth: int = 30
    max_properties: int = 3000
    max_branches: int = 500
    max_enum: int = 1000
    max_enum_characters: int = 75_000
    long_enum: int = 2500


LIMITS: Final = Limits()


class Report:
    """The findings about one schema, as far as they count.

    Attributes:
        root: the schema.
        limits: how large it may be.
        findings: so far, each once.
    """

    def __init__(self, root: Node, level: Level, limits: Limits) -> None:
        self.root = root
        self.limits = limits
        self.findings: list[Finding] = []
        self._rank = LEVELS.index(level)
        self._known: set[tuple[str, str]] = set()

    def counts(self, level: Level) -> bool:
        """Whether what is wrong at a level is wrong here."""
        return LEVELS.index(level) <= self._rank

    def add(self, path: Path, code: str, message: str, level: Level = "lite") -> None:
        """Tell of a fault, if it counts."""
        pointer = "".join(f"/{step_of(step)}" for step in path)
        if self.counts(level) and (pointer, code) not in self._known:
            self._known.add((pointer, code))
            self.findings.append(Finding(pointer, code, message, level))


def step_of(name: object) -> str:
    """A name as one step of a JSON pointer."""
    return str(name).replace("~", "~0").replace("/", "~1")
