"""What the API refuses: bodies of the wrong shape, broken conversations, and what a model does not take.

Each check is a function of the decoded body (and of the model) that raises `RefusedError` with the text of the service,
where it is known. A new rule is one function: about the body alone in `_SHAPE_CHECKS`, about the model as well in
`_MODEL_CHECKS`. The first check that fails is the one that answers.

See: https://platform.kimi.ai/docs/api/errors
"""

from collections.abc import Callable
from typing import Any, Final

from moonshot_async.catalog import Catalog, Model
from moonshot_async.fake.rules import messages, models, parameters, parts, tools
from moonshot_async.fake.rules.basics import Payload, RefusedError, not_found

__all__ = ["Payload", "RefusedError", "check_chat", "find_model", "not_found"]


def check_chat(
    payload: Any,
    catalog: Catalog,
    *,
    legacy_models: bool,
    purpose_of: Callable[[str], str | None] | None = None,
) -> Model:
    """Check a decoded chat request and return the model that it names.

    Args:
        payload: the decoded body.
        catalog: which models there are.
        legacy_models: whether retired ones are served too.
        purpose_of: tells the purpose of an uploaded file by its id, or None where there is no such file; without it,
            `ms://` addresses are not looked up.

    Raises:
        RefusedError: the service would not answer this.
    """
    if not isinstance(payload, dict):
        raise RefusedError("Invalid request: the body must be a JSON object")
    for check in _SHAPE_CHECKS:
        check(payload)
    model = find_model(payload["model"], catalog, legacy_models=legacy_models)
    for check_model in _MODEL_CHECKS:
        check_model(payload, model)
    if purpose_of is not None:
        parts.check_files(payload, purpose_of)
    return model


def find_model(id: str, catalog: Catalog, *, legacy_models: bool) -> Model:
    """Look up a model that the service serves."""
    model = catalog.get(id)
    if model is None or (catalog.retired_on(id) and not legacy_models):
        raise not_found("model", id)
    return model


_SHAPE_CHECKS: Final[tuple[Callable[[Payload], None], ...]] = (
    parameters.check_model_is_named,
    parameters.check_kinds,
    parameters.check_stop,
    parameters.check_logprobs,
    parameters.check_caching,
    parameters.check_prediction,
    messages.check_messages,
    messages.check_partial,
    messages.check_calls,
    tools.check_tools,
    tools.check_choice,
    parameters.check_response_format,
)
_MODEL_CHECKS: Final[tuple[Callable[[Payload, Model], None], ...]] = (
    models.check_thinking,
    models.check_sampling,
    models.check_tool_choice,
    models.check_dynamic_tools,
    models.check_reasoning,
    parts.check_media,
    models.check_window,
)
