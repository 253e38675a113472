"""The input of a batch: where its lines are, and what is wrong with them.

See: https://platform.kimi.ai/docs/guide/use-batch-api
"""

from array import array
from typing import Any, Final

import msgspec

from moonshot_async.catalog import Catalog
from moonshot_async.fake import rules
from moonshot_async.fake.blobs import Blob
from moonshot_async.fake.faults import CHAT_PATH
from moonshot_async.fake.rules import RefusedError

_MAX_ERRORS: Final = 50
# They are fixed for the models that take batches.
_FIXED: Final = ("temperature", "top_p", "n", "presence_penalty", "frequency_penalty")


class BatchInput:
    """What an input file holds.

    Args:
        content: of the file.
        catalog, legacy_models: which models there are.

    Attributes:
        errors: what is wrong, as the API tells it; the first of them.
        model: the one that all lines name.
    """

    def __init__(self, content: Blob, catalog: Catalog, *, legacy_models: bool) -> None:
        self.errors: list[dict[str, Any]] = []
        self.model = ""
        self._content = content
        self._catalog = catalog
        self._legacy_models = legacy_models
        # Where each line begins and ends: of many lines none is held.
        self._places = array("Q")
        self._read()

    def __len__(self) -> int:
        """How many requests there are; none in a file with errors."""
        return 0 if self.errors else len(self._places) // 2

    def line(self, number: int) -> dict[str, Any]:
        """The request at this place, from 0."""
        start, end = self._places[2 * number : 2 * number + 2]
        item: dict[str, Any] = msgspec.json.decode(self._content.read(start, end))
        return item

    def _read(self) -> None:
        known: set[str] = set()
        for number, (start, line) in enumerate(self._content.lines(), 1):
            if not line.strip():
                continue
            self._places.extend((start, start + len(line)))
            try:
                self._check_body(_checked(line, known))
            except _LineError as error:
                self.errors.append({"code": error.code, "message": str(error), "param": error.param, "line": number})
                if len(self.errors) == _MAX_ERRORS:
                    break
        if not self._places:
            message = "the input file holds no requests"
            self.errors.append({"code": "empty_file", "message": message, "param": None, "line": None})

    def _check_body(self, body: dict[str, Any]) -> None:
        for name in (*_FIXED, "stream"):
            # A stream that is switched off is none.
            if name in body and body[name] is not False:
                raise _LineError("invalid_parameter", f"{name} is not supported in a batch", name)
        model = body.get("model")
        if not isinstance(model, str) or not model:
            raise _LineError("missing_field", "model is required and must be a string", "model")
        if not self.model:
            self.model = model
            self._check_model(model)
        elif model != self.model:
            raise _LineError(
                "mismatched_model", f"all requests must use the same model, {self.model}, not {model}", "model"
            )

    def _check_model(self, id: str) -> None:
        try:
            model = rules.find_model(id, self._catalog, legacy_models=self._legacy_models)
        except RefusedError as refusal:
            raise _LineError("model_not_found", refusal.message, "model") from None
        if not model.batch:
            raise _LineError("unsupported_model", f"the model {id} does not support batches", "model")


class _LineError(Exception):
    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


def _checked(line: bytes, known: set[str]) -> dict[str, Any]:
    """The body of a line whose frame is in order."""
    try:
        item = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _LineError("invalid_json_line", "the line is not valid JSON") from None
    if not isinstance(item, dict):
        raise _LineError("invalid_json_line", "the line is not a JSON object")
    custom_id = item.get("custom_id")
    if not isinstance(custom_id, str) or not custom_id:
        raise _LineError("missing_field", "custom_id is required and must be a string", "custom_id")
    if custom_id in known:
        raise _LineError("duplicate_custom_id", f"custom_id {custom_id} is duplicated", "custom_id")
    known.add(custom_id)
    for name, value in (("method", "POST"), ("url", CHAT_PATH)):
        if item.get(name) != value:
            raise _LineError(f"invalid_{name}", f"{name} must be {value}", name)
    body = item.get("body")
    if not isinstance(body, dict):
        raise _LineError("missing_field", "body is required and must be an object", "body")
    return body
