"""A question about documents: its messages, whether they fit, and the answer.

See: https://platform.kimi.ai/docs/guide/use-kimi-api-for-file-based-qa
"""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from moonshot_async.catalog import Catalog
from moonshot_async.errors import ConfigurationError, ContextLengthExceededError, DocumentsTooLongError, NotFoundError
from moonshot_async.headers import Unshown
from moonshot_async.resources.chat import CreateParams
from moonshot_async.toolkit.documents.texts import Document
from moonshot_async.toolkit.model_choice import choose_model
from moonshot_async.types.chat import ChatCompletion
from moonshot_async.types.chat_params import ChatMessage, ContentPart
from moonshot_async.types.encoding import message_params, to_json

if TYPE_CHECKING:
    from moonshot_async.client import AsyncMoonshot

Question: TypeAlias = str | Sequence[ContentPart]

# What an answer has room for at least, in tokens, where the caller asks for no number of them.
ANSWER_TOKENS: Final = 1024
# No token is shorter than a byte, but for those that a message begins and ends with.
_MESSAGE_TOKENS: Final = 16
# What a token of text is, about.
_BYTES_PER_TOKEN: Final = 4
_MAX_REQUEST_BYTES: Final = 100 * 1024 * 1024
_LARGEST: Final = 3
_OWN: Final[tuple[str, ...]] = ("messages", "stream")
_TAKEN: Final = CreateParams.__required_keys__ | CreateParams.__optional_keys__
_REQUESTED: Final = r"requested: ?(\d+)"


class DocumentAnswer(Unshown, msgspec.Struct, frozen=True, eq=False):
    """An answer about documents. Its repr shows neither texts nor the answer.

    Attributes:
        completion: the answer as it came.
        documents: all that were asked about, in their order.
        messages: what was sent; with `completion.choices[0].message` and another question behind it goes on.
        estimated_tokens: of the prompt, as the service estimated them; None where it was sure to fit without asking.
    """

    completion: ChatCompletion
    documents: tuple[Document, ...]
    messages: list[ChatMessage]
    estimated_tokens: int | None

    @property
    def text(self) -> str:
        """What the model says; empty where it says nothing, as when `completion` ended with `length` while thinking."""
        return self.completion.choices[0].message.content or ""

    @property
    def errors(self) -> tuple[Document, ...]:
        """The documents that could not be read, and so are not in the answer; each with its `.error` and `.reason`."""
        return tuple(document for document in self.documents if not document.ok)

    def __repr__(self) -> str:
        return f"<DocumentAnswer: {len(self.documents)} documents, {len(self.errors)} of them not read>"


class Asked:
    """A question about documents and the keywords of its request; they may be private, so that nothing shows them.

    Attributes:
        model: the id.
        documents: what it is about, in order, once they were read.

    Raises:
        TypeError: a keyword is given that has its value from the documents.
        ConfigurationError: the question is empty.
    """

    def __init__(self, question: Question, system: str | None, model: str, options: dict[str, Any]) -> None:
        if name := next((name for name in _OWN if name in options), None):
            raise TypeError(
                f"ask() takes no {name}: documents.messages(files) gives what stands before the question, for "
                "client.chat.completions and conversations of your own"
            )
        if name := next((name for name in options if name not in _TAKEN), None):
            raise TypeError(f"ask() got an unexpected keyword argument {name!r}")
        if isinstance(question, (bytes, Mapping)) or not isinstance(question, (str, Sequence)):
            raise TypeError(f"question must be text or a list of parts, not {type(question).__name__}")
        if not question or (isinstance(question, str) and not question.strip()):
            raise ConfigurationError("the question is empty")
        self.model = model
        self.documents: tuple[Document, ...] = ()
        self._question = question
        self._system = system
        self._options = dict(options)

    def messages(self) -> list[ChatMessage]:
        """The conversation: what the caller has to say, a message for each document, the question."""
        before: list[ChatMessage] = [{"role": "system", "content": self._system}] if self._system else []
        shown = [document.message for document in self.documents if document.ok]
        return [*before, *shown, {"role": "user", "content": self._question}]

    def size(self) -> tuple[int, int]:
        """How many bytes the messages have as JSON, and how many tokens that is at most."""
        messages = message_params(self.messages())
        size = len(to_json(messages))
        return size, size + _MESSAGE_TOKENS * len(messages)

    @property
    def is_text(self) -> bool:
        """Whether its bytes say how many tokens it may have at most; what pictures are, the service alone knows."""
        parts = () if isinstance(self._question, str) else self._question
        return all(isinstance(part, Mapping) and part.get("type") == "text" for part in parts)

    def request(self) -> dict[str, Any]:
        """The keywords of the request."""
        return {**self._options, "model": self.model, "messages": self.messages()}

    @property
    def answer_tokens(self) -> int:
        """What is kept free for the answer, and for what the estimate does not count: tools and the answer's schema."""
        most = (self._options.get(name) for name in ("max_completion_tokens", "max_tokens"))
        # What else it may be, the service judges.
        asked = next((tokens for tokens in most if isinstance(tokens, int) and tokens > 0), ANSWER_TOKENS)
        besides = [given for name in ("tools", "response_format") if (given := self._options.get(name))]
        return asked + (len(repr(besides)) // _BYTES_PER_TOKEN if besides else 0)


async def ask_about(client: "AsyncMoonshot", asked: Asked, fit: "Fit") -> DocumentAnswer:
    """Ask, if it fits.

    Raises:
        DocumentsTooLongError: it does not.
        whatever `client.chat.completions.create` raises.
    """
    estimated = await fit.tokens(client, asked)
    completion = await client.chat.completions.create(**asked.request())
    return DocumentAnswer(completion, asked.documents, asked.messages(), estimated)


class Fit:
    """Whether questions fit into windows.

    Args:
        catalog: knows the windows of models.
        window: of the model, where the caller knows better.

    Raises:
        ConfigurationError: `window` is no number of tokens.
    """

    def __init__(self, catalog: Catalog, window: int | None) -> None:
        if window is not None and (isinstance(window, bool) or not isinstance(window, int) or window < 1):
            raise ConfigurationError(f"window must be a number of tokens, 1 or more, not {window!r}")
        self._catalog = catalog
        self._window = window

    async def tokens(self, client: "AsyncMoonshot", asked: Asked) -> int | None:
        """The tokens of the prompt, as the service estimates them; None where it is sure to fit, or nobody knows.

        Raises:
            DocumentsTooLongError: it does not fit.
            whatever `client.tokenizers.estimate_token_count` raises.
        """
        window = self._window or await self._window_of(client, asked.model)
        if window is None:
            return None
        allowed = window - asked.answer_tokens
        size, most = asked.size()
        if most <= allowed and asked.is_text:
            return None
        tokens = await _counted(client, asked, size, allowed)
        if tokens is not None and tokens > allowed:
            raise self._too_long(asked, tokens, window)
        return tokens

    async def _window_of(self, client: "AsyncMoonshot", model: str) -> int | None:
        known = self._catalog.get(model)
        if known is not None:
            return known.context_window
        try:
            return (await client.models.retrieve(model)).context_length
        except NotFoundError:
            # The request itself will tell.
            return None

    def _too_long(self, asked: Asked, needed: int, window: int) -> DocumentsTooLongError:
        sizes = {id(document): len(document.text.encode()) for document in asked.documents if document.ok}
        whole = max(1, sum(sizes.values()))
        ordered = sorted((doc for doc in asked.documents if doc.ok), key=lambda doc: -sizes[id(doc)])
        largest = tuple((doc.file, needed * sizes[id(doc)] // whole) for doc in ordered[:_LARGEST])
        named = ", ".join(f"{file!r} (about {tokens:,} tokens)" for file, tokens in largest)
        answer = asked.answer_tokens
        message = (
            f"{len(ordered)} documents and the question have about {needed:,} tokens, and {asked.model} has room for "
            f"{max(0, window - answer):,}: its window is {window:,}, and {answer:,} are kept for the answer. The "
            f"largest: {named}. Leave some out, or ask about fewer at a time{self._wider(needed, answer)}."
        )
        return DocumentsTooLongError(
            message,
            model=asked.model,
            prompt_tokens=needed,
            answer_tokens=answer,
            window_tokens=window,
            largest=largest,
        )

    def _wider(self, prompt: int, answer: int) -> str:
        """A model that would do."""
        try:
            model = choose_model(None, prompt, completion_tokens=answer, catalog=self._catalog)
        except ConfigurationError:
            return ""
        return f", or take a model with a larger window: {model.id} has {model.context_window:,}"


async def _counted(client: "AsyncMoonshot", asked: Asked, size: int, allowed: int) -> int | None:
    """What the service counts; None where the host counts nothing, and says by itself what does not fit."""
    guessed = max(allowed + 1, size // _BYTES_PER_TOKEN)
    if size > _MAX_REQUEST_BYTES:
        return guessed
    try:
        messages = asked.messages()
        counting = client.tokenizers.estimate_token_count(model=asked.model, messages=messages)
        del messages
        return (await counting).total_tokens
    except NotFoundError:
        return None
    except ContextLengthExceededError as error:
        said = re.search(_REQUESTED, str(error))
        return max(allowed + 1, int(said[1])) if said else guessed
