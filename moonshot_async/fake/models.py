"""Which models there are, and how many tokens they would count.

See: https://platform.kimi.ai/docs/api/list-models · https://platform.kimi.ai/docs/api/estimate
"""

from typing import Any, Final

from moonshot_async.catalog import Catalog, Model
from moonshot_async.fake import rules
from moonshot_async.fake.answers import prompt_tokens
from moonshot_async.fake.chat import Writer
from moonshot_async.fake.routes import Call, Route, json_response
from moonshot_async.fake.rules import RefusedError
from moonshot_async.wire import Response

_ESTIMATED: Final = ("model", "messages")


class Models:
    """The models of a catalog."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("GET", "/v1/models", self._list),
            Route("GET", "/v1/models/{id+}", self._retrieve),
            Route("POST", "/v1/tokenizers/estimate-token-count", self._estimate),
        )

    def _list(self, call: Call) -> Response:
        catalog: Catalog = self._writer.catalog
        served = catalog.models if self._writer.legacy_models else catalog.current_ids()
        return json_response({"object": "list", "data": [_described(catalog.models[id]) for id in served]})

    def _retrieve(self, call: Call) -> Response:
        writer = self._writer
        return json_response(
            _described(rules.find_model(call.value, writer.catalog, legacy_models=writer.legacy_models))
        )

    def _estimate(self, call: Call) -> Response:
        payload = call.json_object()
        if payload.get("tools"):
            raise RefusedError("Invalid request: tools are not accepted: only messages can be estimated")
        asked: dict[str, Any] = {name: payload[name] for name in _ESTIMATED if name in payload}
        self._writer.check(asked)
        total, _ = prompt_tokens(asked)
        return json_response({"data": {"total_tokens": total}})


def _described(model: Model) -> dict[str, Any]:
    return {
        "id": model.id,
        "object": "model",
        "created": model.created,
        "owned_by": "moonshot",
        "context_length": model.context_window,
        "supports_image_in": "image" in model.modalities,
        "supports_video_in": "video" in model.modalities,
        "supports_reasoning": model.thinking != "never",
    }
