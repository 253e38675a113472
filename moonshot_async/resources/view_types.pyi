"""What type checkers know of `with_raw_response` and `with_streaming_response`.

A line for each method that is one call; `create` has its overloads, which no wrapper of methods would keep.
"""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Concatenate, Generic, Literal, ParamSpec, Self, TypeVar, Unpack, overload

from moonshot_async.raw_responses import RawResponse, ResponseContext
from moonshot_async.resources.batches import Batches
from moonshot_async.resources.call import Resource
from moonshot_async.resources.chat import Chat, Completions, CreateParams, ParseParams
from moonshot_async.resources.files import Files
from moonshot_async.resources.formulas import Fibers, Formulas
from moonshot_async.resources.models import Models
from moonshot_async.resources.signatures import Signatures
from moonshot_async.resources.tokenizers import Tokenizers
from moonshot_async.resources.tools import Tools
from moonshot_async.resources.users import Users
from moonshot_async.streaming import Stream
from moonshot_async.types.chat import ChatCompletion, ChatCompletionChunk
from moonshot_async.types.encoding import NotGiven
from moonshot_async.types.parsed import ParsedChatCompletion

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

class _Raw(Generic[P, R]):
    def __init__(self, method: Callable[Concatenate[Any, P], Awaitable[R]]) -> None: ...
    def __get__(self, view: object, owner: Any = None) -> Callable[P, Coroutine[Any, Any, RawResponse[R]]]: ...

class _Streamed(Generic[P, R]):
    def __init__(self, method: Callable[Concatenate[Any, P], Awaitable[R]]) -> None: ...
    def __get__(self, view: object, owner: Any = None) -> Callable[P, ResponseContext[R]]: ...

class RawCompletions:
    @overload
    async def parse(
        self, *, response_format: type[T], **params: Unpack[ParseParams]
    ) -> RawResponse[ParsedChatCompletion[T]]: ...
    @overload
    async def parse(self, **params: Unpack[CreateParams]) -> RawResponse[ParsedChatCompletion[None]]: ...
    @overload
    async def create(
        self, *, stream: Literal[False] | NotGiven | None = ..., **params: Unpack[CreateParams]
    ) -> RawResponse[ChatCompletion]: ...
    @overload
    async def create(
        self, *, stream: Literal[True], **params: Unpack[CreateParams]
    ) -> RawResponse[Stream[ChatCompletionChunk]]: ...
    @overload
    async def create(
        self, *, stream: bool, **params: Unpack[CreateParams]
    ) -> RawResponse[ChatCompletion] | RawResponse[Stream[ChatCompletionChunk]]: ...

class StreamedCompletions:
    @overload
    def parse(
        self, *, response_format: type[T], **params: Unpack[ParseParams]
    ) -> ResponseContext[ParsedChatCompletion[T]]: ...
    @overload
    def parse(self, **params: Unpack[CreateParams]) -> ResponseContext[ParsedChatCompletion[None]]: ...
    @overload
    def create(
        self, *, stream: Literal[False] | NotGiven | None = ..., **params: Unpack[CreateParams]
    ) -> ResponseContext[ChatCompletion]: ...
    @overload
    def create(
        self, *, stream: Literal[True], **params: Unpack[CreateParams]
    ) -> ResponseContext[Stream[ChatCompletionChunk]]: ...
    @overload
    def create(
        self, *, stream: bool, **params: Unpack[CreateParams]
    ) -> ResponseContext[ChatCompletion] | ResponseContext[Stream[ChatCompletionChunk]]: ...

class RawChat:
    completions: RawCompletions

class StreamedChat:
    completions: StreamedCompletions

class RawModels:
    list = _Raw(Models.list)
    retrieve = _Raw(Models.retrieve)

class RawFiles:
    content = _Raw(Files.content)
    create = _Raw(Files.create)
    delete = _Raw(Files.delete)
    list = _Raw(Files.list)
    retrieve = _Raw(Files.retrieve)

class RawBatches:
    cancel = _Raw(Batches.cancel)
    create = _Raw(Batches.create)
    list = _Raw(Batches.list)
    retrieve = _Raw(Batches.retrieve)

class RawTokenizers:
    estimate_token_count = _Raw(Tokenizers.estimate_token_count)

class RawUsers:
    balance = _Raw(Users.balance)

class RawTools:
    fetch = _Raw(Tools.fetch)
    search = _Raw(Tools.search)
    search_pro = _Raw(Tools.search_pro)

class RawFibers:
    create = _Raw(Fibers.create)

class RawFormulas:
    list = _Raw(Formulas.list)
    tools = _Raw(Formulas.tools)
    fibers: RawFibers

class RawSignatures:
    verify = _Raw(Signatures.verify)

class StreamedModels:
    list = _Streamed(Models.list)
    retrieve = _Streamed(Models.retrieve)

class StreamedFiles:
    content = _Streamed(Files.content)
    create = _Streamed(Files.create)
    delete = _Streamed(Files.delete)
    list = _Streamed(Files.list)
    retrieve = _Streamed(Files.retrieve)

class StreamedBatches:
    cancel = _Streamed(Batches.cancel)
    create = _Streamed(Batches.create)
    list = _Streamed(Batches.list)
    retrieve = _Streamed(Batches.retrieve)

class StreamedTokenizers:
    estimate_token_count = _Streamed(Tokenizers.estimate_token_count)

class StreamedUsers:
    balance = _Streamed(Users.balance)

class StreamedTools:
    fetch = _Streamed(Tools.fetch)
    search = _Streamed(Tools.search)
    search_pro = _Streamed(Tools.search_pro)

class StreamedFibers:
    create = _Streamed(Fibers.create)

class StreamedFormulas:
    list = _Streamed(Formulas.list)
    tools = _Streamed(Formulas.tools)
    fibers: StreamedFibers

class StreamedSignatures:
    verify = _Streamed(Signatures.verify)

class RawSections:
    chat: RawChat
    models: RawModels
    files: RawFiles
    batches: RawBatches
    tokenizers: RawTokenizers
    users: RawUsers
    tools: RawTools
    formulas: RawFormulas
    signatures: RawSignatures

class StreamedSections:
    chat: StreamedChat
    models: StreamedModels
    files: StreamedFiles
    batches: StreamedBatches
    tokenizers: StreamedTokenizers
    users: StreamedUsers
    tools: StreamedTools
    formulas: StreamedFormulas
    signatures: StreamedSignatures

class RawAccess:
    @overload
    def __get__(self, resource: None, owner: Any = None) -> Self: ...
    @overload
    def __get__(self, resource: Chat, owner: Any = None) -> RawChat: ...
    @overload
    def __get__(self, resource: Completions, owner: Any = None) -> RawCompletions: ...
    @overload
    def __get__(self, resource: Models, owner: Any = None) -> RawModels: ...
    @overload
    def __get__(self, resource: Files, owner: Any = None) -> RawFiles: ...
    @overload
    def __get__(self, resource: Batches, owner: Any = None) -> RawBatches: ...
    @overload
    def __get__(self, resource: Tokenizers, owner: Any = None) -> RawTokenizers: ...
    @overload
    def __get__(self, resource: Users, owner: Any = None) -> RawUsers: ...
    @overload
    def __get__(self, resource: Tools, owner: Any = None) -> RawTools: ...
    @overload
    def __get__(self, resource: Fibers, owner: Any = None) -> RawFibers: ...
    @overload
    def __get__(self, resource: Formulas, owner: Any = None) -> RawFormulas: ...
    @overload
    def __get__(self, resource: Signatures, owner: Any = None) -> RawSignatures: ...
    @overload
    def __get__(self, resource: Resource, owner: Any = None) -> Any: ...

class StreamedAccess:
    @overload
    def __get__(self, resource: None, owner: Any = None) -> Self: ...
    @overload
    def __get__(self, resource: Chat, owner: Any = None) -> StreamedChat: ...
    @overload
    def __get__(self, resource: Completions, owner: Any = None) -> StreamedCompletions: ...
    @overload
    def __get__(self, resource: Models, owner: Any = None) -> StreamedModels: ...
    @overload
    def __get__(self, resource: Files, owner: Any = None) -> StreamedFiles: ...
    @overload
    def __get__(self, resource: Batches, owner: Any = None) -> StreamedBatches: ...
    @overload
    def __get__(self, resource: Tokenizers, owner: Any = None) -> StreamedTokenizers: ...
    @overload
    def __get__(self, resource: Users, owner: Any = None) -> StreamedUsers: ...
    @overload
    def __get__(self, resource: Tools, owner: Any = None) -> StreamedTools: ...
    @overload
    def __get__(self, resource: Fibers, owner: Any = None) -> StreamedFibers: ...
    @overload
    def __get__(self, resource: Formulas, owner: Any = None) -> StreamedFormulas: ...
    @overload
    def __get__(self, resource: Signatures, owner: Any = None) -> StreamedSignatures: ...
    @overload
    def __get__(self, resource: Resource, owner: Any = None) -> Any: ...
