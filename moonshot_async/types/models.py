"""What the models endpoint answers.

See: https://platform.kimi.ai/docs/api/models
"""

from typing import TypeAlias

from moonshot_async.types.model import Answer, ModelDecoder
from moonshot_async.types.pages import Page


class ModelInfo(Answer, kw_only=True):
    """A model as the service lists it. `created` is in Unix seconds; other hosts leave the capabilities out."""

    id: str
    created: int = 0
    object: str = "model"
    owned_by: str = ""
    context_length: int | None = None
    supports_image_in: bool | None = None
    supports_video_in: bool | None = None
    supports_reasoning: bool | None = None


ModelList: TypeAlias = Page[ModelInfo]

decode_model = ModelDecoder(ModelInfo)
decode_models = ModelDecoder(Page[ModelInfo])
