"""What is wrong with arguments, in words that a model can act on: where, and what was expected there."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import Any, Final

import msgspec

Schema = dict[str, Any]

# How many values, and how many faults, a text lists.
_VALUES: Final = 30
_FAULTS: Final = 5
_MAX_CHARS: Final = 1000

_PLACE: Final = re.compile(r"(.*) - at (`key` in )?`(\$.*)`", re.DOTALL)
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING: Final = re.compile(r"Object missing required field `(.*)`", re.DOTALL)


def faults_of(problem: msgspec.ValidationError, schema: Schema) -> tuple[str, str]:
    """The path of the first fault, and what to tell of all that are known.

    Args:
        problem: of msgspec; what pydantic found is its cause.
        schema: what the arguments should have been.
    """
    found = _PLACE.fullmatch(str(problem))
    text, path = (found[1], found[3]) if found else (str(problem), "$")
    if callable(errors := getattr(problem.__cause__, "errors", None)):  # pydantic's
        each = errors(include_url=False, include_context=False, include_input=False)
        faults = [(path + _steps(one["loc"]), f": {one['msg']}") for one in each]
    else:
        faults = [_fault(path, text, schema, of_key=bool(found and found[2]))]
    told = "; ".join(place + said for place, said in faults[:_FAULTS])
    if len(faults) > _FAULTS:
        told += f"; and {len(faults) - _FAULTS} more"
    return faults[0][0], told if len(told) <= _MAX_CHARS else told[:_MAX_CHARS] + "…"


def _fault(path: str, text: str, schema: Schema, *, of_key: bool) -> tuple[str, str]:
    if missing := _MISSING.fullmatch(text):
        return f"{path}.{missing[1]}", " is missing"
    if unknown := _UNKNOWN.fullmatch(text):
        known = [name for place in _places(schema, path) for name in place.get("properties", ())]
        return f"{path}.{unknown[1]}", _unknown(unknown[1], known)
    if of_key:
        return path, f" has a key that does not fit: {_sentence(text)}"
    if text.startswith("Invalid ") and "value" in text:
        # It ends with the value, which the model knows.
        values = [value for place in _places(schema, path) for value in place.get("enum", ())]
        return path, f" must be {_listed(map(_json, values))}" if values else " is not one of the values it may have"
    return path, f": {_sentence(text)}"


def _unknown(name: str, known: Sequence[str]) -> str:
    close = get_close_matches(name, known, n=1)
    hint = f" (do you mean {close[0]}?)" if close else ""
    return f" is unknown{hint}: {f'it can be {_listed(known)}' if known else 'nothing can be given'}"


def _listed(words: Iterable[str]) -> str:
    words = list(dict.fromkeys(words))
    shown = words[:_VALUES]
    if len(words) > _VALUES:
        shown.append(f"{len(words) - _VALUES} others")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} or {shown[-1]}"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _sentence(text: str) -> str:
    return text[:1].lower() + text[1:]


def _steps(places: Iterable[str | int]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in places)


def _places(schema: Schema, path: str) -> list[Schema]:
    """The schemas that a path may lead to; several where one is a choice."""
    found = list(_options(schema, schema))
    for name, _ in _STEP.findall(path):
        found = [option for one in found for inner in _inner(one, name) for option in _options(inner, schema)]
    return found


def _inner(schema: Schema, name: str) -> Iterator[Schema]:
    own = schema.get("properties", {}).get(name) if name else schema.get("items")
    yield from (one for one in (own, schema.get("additionalProperties")) if isinstance(one, dict))


def _options(schema: Schema, root: Schema, seen: tuple[str, ...] = ()) -> Iterator[Schema]:
    """A schema, or those it is a choice of, or the one it refers to."""
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference not in seen:
        target = root if reference == "#" else root.get("$defs", {}).get(reference.rpartition("/")[2], {})
        yield from _options(target, root, (*seen, reference))
    elif branches := schema.get("anyOf"):
        for branch in branches:
            yield from _options(branch, root, seen)
    else:
        yield schema
