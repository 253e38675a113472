"""What the models endpoint answers.

See: https://platform.kimi.ai/docs/api/models
"""

from typing import ClassVar, TypeAlias

from moonshot_async.types.model import Answer, ModelDecoder
from moonshot_async.types.pages import Page


class ModelInfo(Answer, kw_only=True):
    """A model as the service lists it. `created` is in Unix seconds; other hosts leave the capabilities out."""

    _shown_as: ClassVar[str] = "Model"
    _added: ClassVar[frozenset[str]] = frozenset(
        {"context_length", "supports_image_in", "supports_video_in", "supports_reasoning"}
    )

    id: str
    created: int = 0
    object: str = "model"
    owned_by: str = ""
    shutdown_date: str | None = None
    context_length: int | None = None
    supports_image_in: bool | None = None
    supports_video_in: bool | None = None
    supports_reasoning: bool | None = None


ModelList: TypeAlias = Page[ModelInfo]

decode_model = ModelDecoder(ModelInfo)
decode_models = ModelDecoder(Page[ModelInfo])
