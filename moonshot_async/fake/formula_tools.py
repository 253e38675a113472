"""What the hosted tools do, as far as a fake can: each is a declaration for the model, and a function.

They do their work where it is a matter of arithmetic; code is not run, and pages are made up.

See: https://platform.kimi.ai/docs/guide/use-official-tools
"""

import base64
import binascii
import csv
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any, Final, TypeAlias

import msgspec

from moonshot_async.fake import brain
from moonshot_async.fake.tools import page

Arguments: TypeAlias = Mapping[str, Any]


class ToolError(Exception):
    """The execution failed; the text says why."""


class Memory(msgspec.Struct):
    """What the tools know beside their arguments: the time, and what the memory tool was told."""

    clock: Callable[[], float]
    notes: dict[str, str] = {}


class Tool(msgspec.Struct, frozen=True):
    """One hosted tool.

    Attributes:
        description: for the model.
        properties: of its arguments, as JSON schemas.
        required: the names of those that must be given.
        run: does the work.
        secret: whether only the model may read the result.
    """

    description: str
    properties: Mapping[str, Mapping[str, Any]]
    required: Sequence[str]
    run: Callable[[Memory, Arguments], str]
    secret: bool = False

    def declared(self, name: str) -> dict[str, Any]:
        """The tool as an element of `tools`."""
        parameters = {"type": "object", "properties": self.properties, "required": list(self.required)}
        return {
            "type": "function",
            "function": {"name": name, "description": self.description, "parameters": parameters},
        }

    def checked(self, arguments: str) -> dict[str, Any]:
        """The arguments that a model wrote.

        Raises:
            ToolError: they are not JSON, or not what was declared.
        """
        try:
            given = msgspec.json.decode(arguments.encode("utf-8", "surrogatepass"))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise ToolError("arguments are not valid JSON") from None
        if not isinstance(given, dict):
            raise ToolError("arguments must be a JSON object")
        for name in self.required:
            if name not in given:
                raise ToolError(f"missing required argument: {name}")
        for name, value in given.items():
            self._check(name, value)
        return given

    def _check(self, name: str, value: Any) -> None:
        if name not in self.properties:
            raise ToolError(f"unknown argument: {name}")
        schema = self.properties[name]
        kind = schema["type"]
        if not isinstance(value, _KINDS[kind]) or isinstance(value, bool):
            raise ToolError(f"argument {name} must be of type {kind}")
        if "enum" in schema and value not in schema["enum"]:
            raise ToolError(f"argument {name} must be one of: {', '.join(schema['enum'])}")


_KINDS: Final[Mapping[str, type | tuple[type, ...]]] = {
    "string": str,
    "number": (int, float),
    "integer": int,
    "array": list,
}


def _text(description: str, *choices: str) -> dict[str, Any]:
    return {"type": "string", "description": description, **({"enum": list(choices)} if choices else {})}


# What a unit measures, and how many base units it is.
_UNITS: Final[Mapping[str, tuple[str, float]]] = {
    "m": ("length", 1.0),
    "km": ("length", 1000.0),
    "cm": ("length", 0.01),
    "mm": ("length", 0.001),
    "mi": ("length", 1609.344),
    "ft": ("length", 0.3048),
    "in": ("length", 0.0254),
    "kg": ("mass", 1.0),
    "g": ("mass", 0.001),
    "lb": ("mass", 0.45359237),
    "oz": ("mass", 0.028349523125),
    "l": ("volume", 1.0),
    "ml": ("volume", 0.001),
    "gal": ("volume", 3.785411784),
    "s": ("time", 1.0),
    "min": ("time", 60.0),
    "h": ("time", 3600.0),
    "d": ("time", 86_400.0),
}


def _convert(memory: Memory, arguments: Arguments) -> str:
    value, source, target = arguments["value"], arguments["from_unit"].lower(), arguments["to_unit"].lower()
    if {source, target} == {"c", "f"}:
        result = value * 9 / 5 + 32 if source == "c" else (value - 32) * 5 / 9
    else:
        known = _UNITS.get(source), _UNITS.get(target)
        if known[0] is None or known[1] is None or known[0][0] != known[1][0]:
            raise ToolError(f"cannot convert {source} to {target}")
        result = value * known[0][1] / known[1][1]
    return f"{value:g} {source} = {result:.10g} {target}"


def _web_search(memory: Memory, arguments: Arguments) -> str:
    return brain.compose(arguments["query"], brain.digest("formula", arguments["query"]))


def _rethink(memory: Memory, arguments: Arguments) -> str:
    return brain.reflect(arguments["thought"], brain.digest("rethink", arguments["thought"]), 3)


def _random_choice(memory: Memory, arguments: Arguments) -> str:
    candidates, count = arguments["candidates"], arguments.get("count", 1)
    if not 1 <= count <= len(candidates):
        raise ToolError("count must be between 1 and the number of candidates")
    # The same question gets the same answer: a fake throws no dice.
    seeds = [brain.digest("choice", str(place), str(one)) for place, one in enumerate(candidates)]
    chosen = sorted(range(len(candidates)), key=seeds.__getitem__)[:count]
    return msgspec.json.encode([candidates[place] for place in chosen]).decode()


def _mew(memory: Memory, arguments: Arguments) -> str:
    return "Meow! May your tests stay green."


def _memory(memory: Memory, arguments: Arguments) -> str:
    action, key = arguments["action"], arguments.get("key", "")
    if action == "list":
        return msgspec.json.encode(sorted(memory.notes)).decode()
    if not key:
        raise ToolError(f"missing required argument: key, for the action {action}")
    if action == "store":
        memory.notes[key] = arguments.get("value", "")
        return "stored"
    if key not in memory.notes:
        raise ToolError(f"nothing is stored under {key}")
    return memory.notes.pop(key) if action == "delete" else memory.notes[key]


def _excel(memory: Memory, arguments: Arguments) -> str:
    rows = [row for row in csv.reader(StringIO(arguments["content"])) if row]
    if not rows:
        raise ToolError("the table is empty")
    return msgspec.json.encode({"columns": rows[0], "row_count": len(rows) - 1}).decode()


def _date(memory: Memory, arguments: Arguments) -> str:
    now = datetime.fromtimestamp(memory.clock(), UTC) + timedelta(days=arguments.get("days", 0))
    return now.isoformat(timespec="seconds")


def _base64(memory: Memory, arguments: Arguments) -> str:
    text = arguments["text"]
    if arguments["action"] == "encode":
        return base64.b64encode(text.encode()).decode()
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise ToolError("the text is not Base64 of text") from None


def _fetch(memory: Memory, arguments: Arguments) -> str:
    if not arguments["url"].startswith(("http://", "https://")):
        raise ToolError("only http and https are supported")
    return page(arguments["url"])["markdown"]


def _not_run(memory: Memory, arguments: Arguments) -> str:
    lines = len(arguments["code"].splitlines())
    return f"The fake does not run code; it was given {lines} {'line' if lines == 1 else 'lines'}."


_CLASSES: Final = ("all", "academic", "social", "library", "finance", "code", "ecommerce", "medical")
_CODE: Final = {"code": _text("What to run")}

TOOLS: Final[Mapping[str, Tool]] = {
    "convert": Tool(
        "Convert a value from one unit to another",
        {
            "value": {"type": "number", "description": "The value"},
            "from_unit": _text("Its unit, such as km, lb, l, h, c"),
            "to_unit": _text("The unit to convert to"),
        },
        ("value", "from_unit", "to_unit"),
        _convert,
    ),
    "web-search": Tool(
        "Search the web for information",
        {
            "query": _text("What to search for"),
            "classes": {
                "type": "array",
                "description": "Where to search",
                "items": {"type": "string", "enum": list(_CLASSES)},
            },
        },
        ("query",),
        _web_search,
        secret=True,
    ),
    "rethink": Tool("Think again about a thought", {"thought": _text("The thought")}, ("thought",), _rethink),
    "random-choice": Tool(
        "Choose from candidates at random",
        {
            "candidates": {"type": "array", "description": "What to choose from", "items": {"type": "string"}},
            "count": {"type": "integer", "description": "How many to choose, 1 unless given"},
        },
        ("candidates",),
        _random_choice,
    ),
    "mew": Tool("Let a cat meow, and bless you", {}, (), _mew),
    "memory": Tool(
        "Store notes, and find them again",
        {
            "action": _text("What to do", "store", "retrieve", "delete", "list"),
            "key": _text("The name of the note"),
            "value": _text("The note"),
        },
        ("action",),
        _memory,
    ),
    "excel": Tool("Analyse a table", {"content": _text("The table as CSV")}, ("content",), _excel),
    "date": Tool(
        "Tell the date and the time",
        {"days": {"type": "integer", "description": "How many days from now, 0 unless given"}},
        (),
        _date,
    ),
    "base64": Tool(
        "Encode text as Base64, or decode it",
        {"action": _text("What to do", "encode", "decode"), "text": _text("The text")},
        ("action", "text"),
        _base64,
    ),
    "fetch": Tool("Read a web page as Markdown", {"url": _text("Its address")}, ("url",), _fetch),
    "quickjs": Tool("Run JavaScript", _CODE, ("code",), _not_run),
    "code-runner": Tool("Run Python", _CODE, ("code",), _not_run),
}
