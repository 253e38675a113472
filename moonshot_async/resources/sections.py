"""The sections of the API, each made when first used, over one pipeline."""

from functools import cached_property
from typing import TYPE_CHECKING

from moonshot_async.pipeline import Pipeline

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


class Sections:
    """`client.chat`, `client.files` and so on. Modules are imported late: a program rarely needs all of them."""

    _pipeline: Pipeline

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
