"""How many tokens a prompt has.

See: https://platform.kimi.ai/docs/api/estimate
"""

from collections.abc import Iterable
from typing import Unpack

from moonshot_async.redaction import Unseen
from moonshot_async.resources.call import BodyOptions, Resource, post
from moonshot_async.types.chat_params import ChatMessage
from moonshot_async.types.encoding import message_params
from moonshot_async.types.tokenizers import TokenCount, TokenCountRequest, decode_token_count


class Tokenizers(Resource):
    """`client.tokenizers`."""

    async def estimate_token_count(
        self, *, model: str, messages: Iterable[ChatMessage], **options: Unpack[BodyOptions]
    ) -> TokenCount:
        """Count the tokens of messages as the model would; what images and videos cost is told, too.

        Args:
            model: the id.
            messages: as in a chat completion, response objects included.
            **options: see `BodyOptions`. Tools cannot be counted: the service takes messages only.

        Raises:
            TypeError: a keyword does not exist, or `messages` is no list of messages; before any I/O.
            APIError: in all its kinds.

        See: https://platform.kimi.ai/docs/api/estimate
        """
        path = "/tokenizers/estimate-token-count"
        try:
            with Unseen(options):
                body = TokenCountRequest(model=model, messages=message_params(messages))
                request = post(self._pipeline, path, body, options, call="estimate_token_count")
        finally:
            del messages
        return await self._pipeline.fetch(request, decode_token_count)
