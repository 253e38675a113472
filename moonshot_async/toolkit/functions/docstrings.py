"""What a docstring says of a function and of its parameters; in the styles of Google, NumPy and Sphinx (reST)."""

import re
from collections.abc import Iterator
from inspect import cleandoc
from typing import Final, NamedTuple

_PARAMETERS: Final = frozenset(
    ("args", "arguments", "params", "parameters", "keyword args", "keyword arguments", "other parameters")
)
# Written for programmers: a model neither catches what is raised nor runs examples.
_OTHERS: Final = frozenset(
    (
        *("returns", "return", "yields", "yield", "receives", "raises", "raise", "except", "exceptions", "warns"),
        *("attributes", "methods", "example", "examples", "references", "see", "see also", "todo", "todos"),
    )
)
_GOOGLE_HEADER: Final = re.compile(r"([A-Za-z ]+):\s*$")
_RULE: Final = re.compile(r"(-{3,}|={3,})\s*$")
# `city: …`, `city (str, optional): …`, `*args: …`
_GOOGLE_ITEM: Final = re.compile(r"\*{0,2}(\w+)\s*(?:\(.*?\))?\s*:(?:\s+|$)(.*)")
# `city : str`, `x, y : int`, `city`
_NUMPY_ITEM: Final = re.compile(r"(\*{0,2}\w+(?:\s*,\s*\*{0,2}\w+)*)\s*(?::.*)?$")
# `:param city: …`, `:param str city: …`, `:returns: …`
_FIELD: Final = re.compile(r":(\w+)(?:\s+([^:]*))?:(?:\s+|$)(.*)")
_FIELD_PARAMETERS: Final = frozenset(("param", "parameter", "arg", "argument", "key", "keyword", "kwarg"))
_FIELDS: Final = _FIELD_PARAMETERS | frozenset(
    (
        *("type", "kwtype", "paramtype", "vartype", "var", "ivar", "cvar", "raises", "raise", "except", "exception"),
        *("return", "returns", "rtype", "yield", "yields", "ytype", "meta"),
    )
)


class Documentation(NamedTuple):
    """What was found.

    Attributes:
        description: what stands outside of sections; empty for nothing.
        parameters: the texts of the parameters, by name.
    """

    description: str
    parameters: dict[str, str]


def documentation(docstring: str | None) -> Documentation:
    """Read a docstring. Sections about results, exceptions and examples are left out."""
    lines = cleandoc(docstring or "").splitlines()
    said: list[str] = []
    parameters: dict[str, list[str]] = {}
    at = 0
    while at < len(lines):
        end = _section_end(lines, at)
        if end == at:
            said.append(lines[at])
            at += 1
            continue
        for names, text in _items(lines[at:end]):
            for name in names:
                parameters.setdefault(name, []).append(text)
        at = end
    description = re.sub(r"\n{3,}", "\n\n", "\n".join(said)).strip()
    return Documentation(description, {name: " ".join(texts) for name, texts in parameters.items() if any(texts)})


def _section_end(lines: list[str], at: int) -> int:
    """Behind the section that begins at a line; the line itself where none does."""
    line = lines[at]
    if _is_underlined(lines, at):
        if line.strip().lower() not in _PARAMETERS | _OTHERS:
            return at
        end = at + 2
        while end < len(lines) and not _is_underlined(lines, end):
            end += 1
        return end
    field = _FIELD.match(line)
    header = _GOOGLE_HEADER.match(line)
    if field is not None and field[1] in _FIELDS:
        pass
    elif header is None or header[1].lower() not in _PARAMETERS | _OTHERS:
        return at
    end = at + 1
    while end < len(lines) and (not lines[end].strip() or lines[end][0].isspace()):
        end += 1
    return end


def _is_underlined(lines: list[str], at: int) -> bool:
    return at + 1 < len(lines) and bool(lines[at].strip()) and _RULE.match(lines[at + 1]) is not None


def _items(section: list[str]) -> Iterator[tuple[list[str], str]]:
    """What a section says of parameters: names, and their text on one line."""
    head = section[0]
    if (field := _FIELD.match(head)) is not None and field[1] in _FIELDS:
        if field[1] in _FIELD_PARAMETERS and (words := (field[2] or "").split()):
            yield [words[-1].lstrip("*\\")], _joined([field[3], *section[1:]])
        return
    numpy = _is_underlined(section, 0)
    if head.strip().rstrip(":").lower() not in _PARAMETERS:
        return
    pattern = _NUMPY_ITEM if numpy else _GOOGLE_ITEM
    names: list[str] = []
    texts: list[str] = []
    body = section[2:] if numpy else section[1:]
    margin = min((_indent(line) for line in body if line.strip()), default=0)
    for line in body:
        found = pattern.match(line.strip()) if _indent(line) == margin and line.strip() else None
        if found is None:
            texts.append(line)
            continue
        yield names, _joined(texts)
        names = [name.strip().lstrip("*") for name in found[1].split(",")]
        texts = [] if numpy else [found[2]]
    yield names, _joined(texts)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _joined(lines: list[str]) -> str:
    return " ".join(line.strip() for line in lines if line.strip())
