"""From the requests of a batch to the lines of its input file, checked by the rules of the Batch API.

See: https://platform.kimi.ai/docs/guide/use-batch-api
"""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import msgspec

from moonshot_async.catalog import CATALOG
from moonshot_async.errors import APIResponseValidationError, ConfigurationError
from moonshot_async.headers import Unshown
from moonshot_async.types.chat_params import CompletionRequest
from moonshot_async.types.encoding import build, message_params, plain, to_json
from moonshot_async.types.model import parse

# What the service samples with is fixed for the models that take batches.
_SAMPLING: Final = ("temperature", "top_p", "n", "presence_penalty", "frequency_penalty")
_FORMS: Final = (
    "BatchRequest(custom_id, body), (custom_id, keywords of a chat completion), such keywords alone, "
    "or a line of the Batch API"
)


class BatchRequest(Unshown, msgspec.Struct):
    """One request of a batch.

    Attributes:
        custom_id: names the request in the results; unique within the batch.
        body: the keywords of `chat.completions.create`, without those about the call itself; messages may be response
            objects, and `extra_body` is laid over the rest.
    """

    custom_id: str
    body: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"BatchRequest({self.custom_id!r}, ...)"


AnyRequest: TypeAlias = BatchRequest | tuple[str, Mapping[str, Any]] | Mapping[str, Any] | str | bytes


class LineMaker:
    """Makes the lines of one input file, in order.

    Args:
        model: for bodies that name none.
        endpoint: for lines that name no `url`.
        check: whether rules are checked that the service may change: sampling parameters, `stream`, which models take
            batches, one model in a file.

    Attributes:
        position: of the last request, from 1.
        what: that request, for a message.
    """

    def __init__(self, *, model: str | None, endpoint: str, check: bool) -> None:
        self._model = model
        self._endpoint = endpoint
        self._check = check
        self._only: tuple[Any, str] | None = None
        self.position = 0
        self.what = ""

    def line(self, item: AnyRequest) -> tuple[str, bytes] | None:
        """The custom_id of a request and its line, without an end; None for an empty line.

        Raises:
            ConfigurationError: the request breaks a rule; names it.
        """
        if isinstance(item, (str, bytes)) and not item.strip():
            return None
        self.position += 1
        self.what = f"request {self.position}"
        custom_id, body, line = self._parts(item)
        if not isinstance(custom_id, str) or not custom_id:
            given = "an empty one" if custom_id == "" else type(custom_id).__name__
            raise self._error(f"its custom_id must be a text that is not empty, not {given}")
        self.what += f" (custom_id {custom_id!r})"
        try:
            fields = self._keywords(body) if line is None else self._as_given(body)
            if self._check:
                self._check_body(fields)
                self._check_line(line or {})
            head = {"custom_id": custom_id, "method": "POST", "url": self._endpoint}
            return custom_id, to_json({**head, **(line or {}), "body": fields})
        except (TypeError, ConfigurationError) as error:
            problem = str(error)
        raise self._error(problem)

    def _parts(self, item: Any) -> tuple[Any, Any, Mapping[str, Any] | None]:
        """The custom_id, the body, and the whole line where one was given."""
        if isinstance(item, BatchRequest):
            return item.custom_id, item.body, None
        if isinstance(item, (str, bytes)):
            item = self._decoded(item)
            if not isinstance(item, Mapping) or "body" not in item:
                raise self._error("its line is no JSON object with a body")
        if isinstance(item, Mapping):
            if "body" in item:
                return item.get("custom_id"), item["body"], item
            fields = dict(item)
            return fields.pop("custom_id", f"request-{self.position}"), fields, None
        if isinstance(item, tuple) and len(item) == 2:
            return item[0], item[1], None
        raise self._error(f"a request is {_FORMS}, not {type(item).__name__}")

    def _decoded(self, text: str | bytes) -> Any:
        try:
            return parse(text if isinstance(text, bytes) else text.encode("utf-8", "replace"))
        except APIResponseValidationError:
            pass
        # Out here, since that error holds what the line says.
        raise self._error("its line is not valid JSON")

    def _keywords(self, body: Any) -> dict[str, Any]:
        """The body for the keywords of a chat completion, which are strict."""
        params = self._mapping(body)
        extra_body = params.pop("extra_body", None) or {}
        request = build(CompletionRequest, params, call="create")
        params["messages"] = message_params(request.messages)
        given = {name: value for name, value in params.items() if not isinstance(value, msgspec.UnsetType)}
        return {**given, **plain(extra_body)}

    def _as_given(self, body: Any) -> dict[str, Any]:
        """The body of a line: what the API knows better than this client stays."""
        params = self._mapping(body)
        if isinstance(params.get("messages"), (list, tuple)):
            params["messages"] = message_params(params["messages"])
        return params

    def _mapping(self, body: Any) -> dict[str, Any]:
        if not isinstance(body, Mapping):
            raise TypeError(f"its body must be an object such as {{'messages': [...]}}, not {type(body).__name__}")
        if self._model is not None:
            return {"model": self._model, **body}
        return dict(body)

    def _check_body(self, fields: Mapping[str, Any]) -> None:
        fixed = [name for name in _SAMPLING if name in fields]
        if fixed:
            raise ConfigurationError(f"a batch takes no sampling parameters: leave {', '.join(fixed)} out")
        if fields.get("stream"):
            raise ConfigurationError("a batch does not stream: leave stream out")
        model = fields.get("model")
        if not model:
            raise ConfigurationError("its body names no model: name one there, or pass model=")
        if self._only is None:
            self._check_model(model)
            self._only = model, self.what
        elif model != self._only[0]:
            raise ConfigurationError(
                f"all requests of a batch use the same model, but this one names {model!r} and {self._only[1]} "
                f"{self._only[0]!r}: run one batch for each model"
            )

    def _check_model(self, model: Any) -> None:
        known = CATALOG.get(model) if isinstance(model, str) else None
        if known is None or known.batch:
            return
        able = [name for name in CATALOG.current_ids() if CATALOG.models[name].batch]
        raise ConfigurationError(
            f"the Batch API did not take {model} on {CATALOG.as_of.isoformat()}, but {', '.join(able)}; "
            "if it does now, pass check=False"
        )

    def _check_line(self, line: Mapping[str, Any]) -> None:
        if line.get("method", "POST") != "POST" or line.get("url", self._endpoint) != self._endpoint:
            raise ConfigurationError(f"its method must be 'POST' and its url {self._endpoint!r}, as of the whole batch")

    def _error(self, problem: str) -> ConfigurationError:
        return ConfigurationError(f"{self.what}: {problem}")
