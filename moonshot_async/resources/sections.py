"""The sections of the API, each made when first used, over one pipeline."""

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, cast

from moonshot_async.pipeline import Pipeline
from moonshot_async.resources.views import raw_view, streamed_view

if TYPE_CHECKING:
    from moonshot_async.resources.batches import Batches
    from moonshot_async.resources.chat import Chat
    from moonshot_async.resources.files import Files
    from moonshot_async.resources.formulas import Formulas
    from moonshot_async.resources.models import Models
    from moonshot_async.resources.signatures import Signatures
    from moonshot_async.resources.tokenizers import Tokenizers
    from moonshot_async.resources.tools import Tools
    from moonshot_async.resources.users import Users
    from moonshot_async.resources.view_types import RawSections, StreamedSections

# What clients of other services have, and what to do instead.
_ELSEWHERE: Final = {
    "assistants": "client.chat.completions with tools=",
    "completions": "client.chat.completions",
    "conversations": "client.chat.completions, with the messages so far",
    "responses": "client.chat.completions, or client.post('/responses', cast_to=dict, body=...)",
    "threads": "client.chat.completions, with the messages so far",
    "uploads": "client.files.create, which streams large files from the disk",
} | dict.fromkeys(
    (
        *("admin", "audio", "containers", "embeddings", "evals", "fine_tuning", "images", "moderations", "realtime"),
        *("skills", "vector_stores", "videos", "webhooks"),
    ),
    "another service with its own client",
)


class Beta:
    """`client.beta`: where older programs look for `chat.completions.parse`."""

    def __init__(self, chat: "Chat") -> None:
        self.chat = chat


class Sections:
    """`client.chat`, `client.files` and so on. Modules are imported late: a program rarely needs all of them."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    if not TYPE_CHECKING:  # pragma: no branch - type checkers shall know what exists only

        def __getattr__(self, name: str) -> Any:
            problem = f"{type(self).__name__!r} object has no attribute {name!r}"
            if name in _ELSEWHERE:
                problem += f": the SDK has no such section of the API; use {_ELSEWHERE[name]}"
            raise AttributeError(problem, name=name)

    @cached_property
    def with_raw_response(self) -> "RawSections":
        """The same sections; their methods return `RawResponse`."""
        return cast("RawSections", raw_view(Sections, self._pipeline))

    @cached_property
    def with_streaming_response(self) -> "StreamedSections":
        """The same sections; their methods are entered with `async with` and give an `APIResponse`."""
        return cast("StreamedSections", streamed_view(Sections, self._pipeline))

    @cached_property
    def beta(self) -> Beta:
        """The same `chat` as `client.chat`."""
        return Beta(self.chat)

    @cached_property
    def chat(self) -> "Chat":
        """Chat completions."""
        from moonshot_async.resources.chat import Chat

        return Chat(self._pipeline)

    @cached_property
    def models(self) -> "Models":
        """The models that the key may use."""
        from moonshot_async.resources.models import Models

        return Models(self._pipeline)

    @cached_property
    def files(self) -> "Files":
        """Files for extraction, vision and batches."""
        from moonshot_async.resources.files import Files

        return Files(self._pipeline)

    @cached_property
    def batches(self) -> "Batches":
        """Many requests at a lower price, answered within hours."""
        from moonshot_async.resources.batches import Batches

        return Batches(self._pipeline)

    @cached_property
    def tokenizers(self) -> "Tokenizers":
        """How many tokens a prompt has."""
        from moonshot_async.resources.tokenizers import Tokenizers

        return Tokenizers(self._pipeline)

    @cached_property
    def users(self) -> "Users":
        """The balance of the account."""
        from moonshot_async.resources.users import Users

        return Users(self._pipeline)

    @cached_property
    def tools(self) -> "Tools":
        """Web search and page fetch, paid for each call."""
        from moonshot_async.resources.tools import Tools

        return Tools(self._pipeline)

    @cached_property
    def formulas(self) -> "Formulas":
        """Tools that the vendor hosts."""
        from moonshot_async.resources.formulas import Formulas

        return Formulas(self._pipeline)

    @cached_property
    def signatures(self) -> "Signatures":
        """Proof that the service accepted a request."""
        from moonshot_async.resources.signatures import Signatures

        return Signatures(self._pipeline)
