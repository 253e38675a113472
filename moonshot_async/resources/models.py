"""The models endpoint.

See: https://platform.kimi.ai/docs/api/models
"""

from typing import Unpack

from moonshot_async.errors import NotFoundError
from moonshot_async.resources.call import CallOptions, Resource, check_options, path_segment
from moonshot_async.resources.listing import Listing
from moonshot_async.types.models import ModelInfo, ModelList, decode_model, decode_models
from moonshot_async.wire import Request


class Models(Resource):
    """The models that the key may use."""

    def list(self, **options: Unpack[CallOptions]) -> Listing[ModelList, ModelInfo]:
        """List the models: `await client.models.list()` for `.data`, `async for` for the models one by one.

        See: https://platform.kimi.ai/docs/api/models
        """
        return Listing(self._pipeline, "/models", decode_models, options=options)

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
        with pipeline.whole(single):
            try:
                return await pipeline.fetch(single, decode_model)
            except NotFoundError as error:
                missing = error
            # One call to the caller, hence one deadline for both requests.
            every = pipeline.request("GET", "/models", **options).replace(deadline=single.deadline)
            try:
                return await self._search(every, model, missing)
            finally:
                del missing

    async def _search(self, request: Request, model: str, missing: NotFoundError) -> ModelInfo:
        """Find a model in the list, or raise `missing`."""
        pipeline = self._pipeline
        response = await pipeline.open(request)
        content = await pipeline.read(request, response)
        models = pipeline.typed.answer(request, response, content, decode_models)
        try:
            if not any(info.id == model for info in models):
                raise missing
        finally:
            del missing
        decode = decode_models.then(lambda models: next(info for info in models if info.id == model))
        return pipeline.answer(request, response, content, decode)
