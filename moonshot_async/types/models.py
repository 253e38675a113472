"""What the models endpoint answers.

See: https://platform.kimi.ai/docs/api/models
"""

from collections.abc import Iterator

from moonshot_async.types.model import Answer, ModelDecoder


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


class ModelList(Answer, kw_only=True):
    """All models that the key may use; the endpoint has no pages."""

    data: list[ModelInfo]
    object: str = "list"

    def __iter__(self) -> Iterator[ModelInfo]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)


decode_model = ModelDecoder(ModelInfo)
decode_models = ModelDecoder(ModelList)
