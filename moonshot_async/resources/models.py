"""The models endpoint.

See: https://platform.kimi.ai/docs/api/models
"""

from typing import Unpack

from moonshot_async.errors import NotFoundError
from moonshot_async.pipeline import Pipeline
from moonshot_async.resources.call import CallOptions, check_options, path_segment
from moonshot_async.resources.listing import Listing
from moonshot_async.types.models import ModelInfo, ModelList, decode_model, decode_models


class Models:
    """The models that the key may use."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def list(self, **options: Unpack[CallOptions]) -> Listing[ModelList, ModelInfo]:
        """List the models: `await client.models.list()` for `.data`, `async for` for the models one by one.

        See: https://platform.kimi.ai/docs/api/models
        """

        check_options(options, call="list")

        async def fetch() -> ModelList:
            return await self._pipeline.fetch(self._pipeline.request("GET", "/models", **options), decode_models)

        return Listing(fetch)

    async def retrieve(self, model: str, **options: Unpack[CallOptions]) -> ModelInfo:
        """Look one model up.

        The service documents no address for a single model, so where it answers 404 the list is searched.

        Raises:
            NotFoundError: the key may not use such a model.
            ConfigurationError: `model` is empty or no name.

        See: https://platform.kimi.ai/docs/api/models
        """
        check_options(options, call="retrieve")
        pipeline = self._pipeline
        single = pipeline.request("GET", f"/models/{path_segment(model, 'model')}", **options)
        try:
            return await pipeline.fetch(single, decode_model)
        except NotFoundError as error:
            missing = error
        # One call to the caller, hence one deadline for both requests.
        every = pipeline.request("GET", "/models", **options).replace(deadline=single.deadline)
        for info in await pipeline.fetch(every, decode_models):
            if info.id == model:
                return info
        try:
            raise missing
        finally:
            del missing
