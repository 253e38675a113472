"""Why a JSON text is no value of a type, and where in it, as msgspec and pydantic tell."""

from typing import Any, Final

import msgspec

_IN_NAME: Final = "key` in `"


def misfit_of(error: Exception, text: str) -> tuple[str, str | None]:
    """What is wrong, in words that do not repeat what was to be parsed, and where: `$.people[0].age`.

    Args:
        error: what msgspec or pydantic raised.
        text: what was parsed.

    Returns:
        The words, and the path; None where the text is no JSON.
    """
    if _is_pydantics(error):
        return _pydantics(error, text)
    problem, found, place = str(error).rpartition(" - at `")
    if not found:
        return place, "$" if isinstance(error, msgspec.ValidationError) else None
    # It may be a name of a dict that is wrong: "`key` in `$.people`".
    path = place.removeprefix(_IN_NAME).removesuffix("`")
    if _is_pydantics(error.__cause__):
        problem, inner = _pydantics(error.__cause__, None)
        return problem, path + (inner or "$").removeprefix("$")
    return f"{problem} for a name" if place.startswith(_IN_NAME) else problem, path


def _is_pydantics(error: BaseException | None) -> bool:
    return callable(getattr(error, "errors", None))


def _pydantics(error: Any, text: str | None) -> tuple[str, str | None]:
    """What is wrong first; `text` is known where all of it was pydantic's to read."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return first["msg"], None
    loc = first["loc"]
    if text is not None:
        loc = _within(loc, text, missing=first["type"] == "missing")
    return first["msg"], "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in loc)


def _within(loc: tuple[Any, ...], text: str, *, missing: bool) -> list[Any]:
    """The steps to a value without those that are none: names of alternatives, tags and validators."""
    try:
        tree = msgspec.json.decode(text)
    except (ValueError, msgspec.DecodeError, RecursionError):  # pydantic takes a little more than JSON
        return list(loc)
    steps = []
    for step in loc:
        if (isinstance(tree, dict) and step in tree) or (isinstance(tree, list) and step in range(len(tree))):
            tree = tree[step]
            steps.append(step)
    # The last one of what is missing leads nowhere.
    return [*steps, loc[-1]] if missing else steps
