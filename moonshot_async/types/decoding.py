"""From the bytes of an answer to objects: the decoder that forgives what servers do.

Structs are decoded strictly first, straight from bytes. Whatever that refuses (a field nobody knows yet, a null where
a default would do, a lone surrogate) goes through a slower, forgiving path that keeps unknown fields as attributes, so
that nothing the server said is lost and the common case pays nothing for it.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec

from moonshot_async.bounds import Bounds
from moonshot_async.errors import APIResponseValidationError
from moonshot_async.types.json_text import check_depth, error_event, excerpt, parse

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
U = TypeVar("U")
V = TypeVar("V")


class Decode(Protocol[T_co]):
    """What turns the bytes of an answer into an object."""

    @property
    def cls(self) -> Any:
        """What the bytes hold, in words of the type system; `Any` for whatever JSON there is."""
        ...

    def __call__(self, data: bytes, /) -> T_co:
        """Decode.

        Raises:
            APIError: the bytes are an error object, or not what they should be.
        """
        ...


# What strict decoding raises of bytes that may be good all the same.
NOT_STRICT: Final = (msgspec.DecodeError, ValueError, RecursionError)


class ModelDecoder(Generic[T]):
    """Decode JSON bytes into `cls`: strictly first, forgivingly where that fails.

    Attributes:
        strict: the first of the two alone; raises one of `NOT_STRICT`.

    Raises:
        APIError: the bytes are an error object (`{"error": …}`) instead of an answer.
        APIResponseValidationError: they are not JSON, or not of the documented shape.
    """

    def __init__(self, cls: type[T]) -> None:
        self.cls = cls

    @cached_property
    def strict(self) -> Callable[[bytes], T]:
        # Made when it is first needed, which takes up to 0.5 ms: there is one for each kind of answer.
        return msgspec.json.Decoder(self.cls).decode

    def __call__(self, data: bytes) -> T:
        try:
            return self.strict(data)
        except NOT_STRICT:
            pass
        return self._forgiving(data)

    def within(self, data: bytes, bounds: Bounds) -> T:
        """Decode what has brackets enough to be nested too deep.

        What strict decoding takes goes no deeper than its type says, but for fields that hold anything: so the bytes
        are mostly not searched, which takes twice as long as to decode them.

        Raises:
            ResponseTooLargeError: it is.
        """
        from moonshot_async.types.nesting import MOST_LEVELS_OF_TYPES, is_bounded

        try:
            answer = self.strict(data)
        except NOT_STRICT:
            pass
        else:
            if bounds.max_depth >= MOST_LEVELS_OF_TYPES and is_bounded(answer):
                return answer
        check_depth(data, self, bounds)
        return self(data)

    def then(self, function: Callable[[T], U]) -> "Decode[U]":
        """A decoder that hands out what `function` makes of the decoded object: its payload, for example."""
        return _Then(self, function)

    def _forgiving(self, data: bytes) -> T:
        tree = parse(data)
        if isinstance(tree, dict) and tree.get("error"):
            raise error_event(tree["error"])
        # Imported late: most servers say nothing that needs it.
        from moonshot_async.types.forgiving import build

        try:
            return build(self.cls, tree)
        except (msgspec.ValidationError, ValueError, RecursionError) as error:
            reason = str(error)
        raise APIResponseValidationError(
            body=excerpt(data), message=f"The answer is not what the API documents: {reason}."
        )


class _Then(Generic[T, U]):
    """A decoder and what is done to all that it decodes."""

    def __init__(self, decode: "ModelDecoder[T] | _Then[Any, T]", function: Callable[[T], U]) -> None:
        self.cls: Any = decode.cls
        self._decode = decode
        self._function = function

    def __call__(self, data: bytes, /) -> U:
        return self._function(self._decode(data))

    def within(self, data: bytes, bounds: Bounds) -> U:
        return self._function(self._decode.within(data, bounds))

    def then(self, function: Callable[[U], V]) -> "Decode[V]":
        return _Then(self, function)
