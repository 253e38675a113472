"""The arguments of a tool, from JSON, as a model wrote it, to Python values, or to an error that helps the model."""

import json
import math
import re
from typing import Any, Final

import msgspec

from moonshot_async.errors import ToolArgumentsError
from moonshot_async.toolkit.functions.faults import faults_of
from moonshot_async.toolkit.functions.parameters import Foreign, field_name, foreign
from moonshot_async.toolkit.functions.signatures import Parameter

_FENCED: Final = re.compile(r"```[\w-]*[ \t]*\n(.*)\n[ \t]*```", re.DOTALL)
# What every JSON reader takes for an integer without loss.
_LARGEST: Final = 2**53 - 1


class Arguments:
    """What a tool is called with.

    Args:
        name: of the tool, for messages.
        parameters: what the model fills in.
        struct: what they are read into.
        schema: its schema.

    Attributes:
        schema: that of the object they are sent as, in Moonshot's dialect.
    """

    def __init__(
        self, name: str, parameters: tuple[Parameter, ...], struct: type[msgspec.Struct], schema: dict[str, Any]
    ) -> None:
        self._name = name
        self._parameters = parameters
        self.schema = schema
        self._decoder = msgspec.json.Decoder(struct, dec_hook=foreign)

    def decode(self, text: str) -> dict[str, Any]:
        """Make values of what a model wrote; what it left out is not among them, unless it has a simple default.

        Taken as well: nothing at all or `null` for no arguments, line breaks inside of texts, whole numbers written as
        `3.0`, and an object that was encoded twice or stands between the fences of Markdown.

        Raises:
            TypeError: `text` is no text.
            ToolArgumentsError: they do not fit.
        """
        if not isinstance(text, str):
            raise TypeError(f"{self._name}: the arguments are JSON text, not {type(text).__name__}")
        bare = text.strip()
        found = self._read("{}" if bare in ("", "null") else bare, text)
        values = ((one.name, getattr(found, field_name(place))) for place, one in enumerate(self._parameters))
        return {
            name: value.value if isinstance(value, Foreign) else value
            for name, value in values
            if value is not msgspec.UNSET
        }

    def _read(self, text: str, original: str) -> Any:
        try:
            return self._decoder.decode(text)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            problem: Exception = error
        try:
            return self._decoder.decode(_mended(text))
        except msgspec.ValidationError as error:
            # It is JSON now: what is wrong in it helps more than how it was written.
            problem = error
        except (msgspec.DecodeError, ValueError, RecursionError):
            pass
        try:
            raise self._refusal(problem, original)
        finally:
            # An exception that is held where its own traceback leads stays until a garbage collection.
            del problem

    def _refusal(self, problem: Exception, text: str) -> ToolArgumentsError:
        path: str | None = None
        if isinstance(problem, msgspec.ValidationError):
            path, said = faults_of(problem, self.schema)
        elif isinstance(problem, RecursionError):
            said = "they are nested too deeply"
        elif isinstance(problem, msgspec.DecodeError):
            said = f"they are no JSON object: {problem}"
        else:
            said = "they are no JSON object: a text in them is no valid Unicode"
        message = f"The arguments of {self._name} are not valid: {said}."
        return ToolArgumentsError(message, tool=self._name, text=text, path=path)


def _mended(text: str) -> bytes:
    """JSON that models mean, where they wrote something near it.

    Raises:
        ValueError: it is not near enough.
        RecursionError: it is nested too deeply.
    """
    if fenced := _FENCED.fullmatch(text):
        text = fenced[1]
    value = json.loads(text, strict=False)
    if isinstance(value, str):
        value = json.loads(value, strict=False)
    return msgspec.json.encode(_whole(value))


def _whole(value: Any) -> Any:
    """Numbers without a fraction as integers, which they are in JSON Schema."""
    if isinstance(value, dict):
        return {name: _whole(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_whole(one) for one in value]
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        raise ValueError("JSON has no such number")
    return int(value) if value.is_integer() and abs(value) <= _LARGEST else value
