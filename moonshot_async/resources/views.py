"""`with_raw_response` and `with_streaming_response`: the same resources over another pipeline.

A view is made when it is asked for. What it offers at run time is what the resource has; `view_types.pyi` tells type
checkers what each method returns in that form.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from moonshot_async.pipeline import Pipeline

# These make several calls, or none that has one answer.
_NO_SINGLE_CALL: Final = frozenset(
    {"as_one_call", "extract", "results", "retrieve_content", "run", "stream", "wait_for_processing"}
)


class View:
    """A resource whose methods return answers as they came."""

    def __init__(self, resource: Any, wrap: Callable[[Any], Any] | None = None) -> None:
        self._resource = resource
        self._wrap = wrap

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        if name in _NO_SINGLE_CALL:
            raise AttributeError(f"{name}() is more than one call, or a helper around one: it has no raw response")
        value = getattr(self._resource, name)
        if not callable(value):
            value = View(value, self._wrap)
        elif self._wrap is not None:
            value = self._wrap(value)
        self.__dict__[name] = value
        return value

    def __dir__(self) -> list[str]:
        return [name for name in dir(self._resource) if not name.startswith("_") and name not in _NO_SINGLE_CALL]

    def __repr__(self) -> str:
        return f"<raw view of {type(self._resource).__name__}>"


def raw_view(resource: Callable[[Pipeline], object], pipeline: Pipeline) -> View:
    """A resource whose methods return `RawResponse`."""
    from moonshot_async.resources.raw_pipelines import RawPipeline

    return View(resource(RawPipeline(pipeline)))


def streamed_view(resource: Callable[[Pipeline], object], pipeline: Pipeline) -> View:
    """A resource whose methods return an `async with` that gives an `APIResponse`."""
    from moonshot_async.raw_responses import ResponseContext
    from moonshot_async.resources.raw_pipelines import StreamedPipeline

    def wrap(method: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **params: ResponseContext(lambda: method(*args, **params))

    return View(resource(StreamedPipeline(pipeline)), wrap)


class _Access:
    """An attribute of resources that is made when it is first read, and kept."""

    def __init__(self, make: Callable[[Callable[[Pipeline], object], Pipeline], View]) -> None:
        self._make = make

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self._name = name

    def __get__(self, resource: Any, owner: Any = None) -> Any:
        if resource is None:
            return self
        view = resource.__dict__[self._name] = self._make(type(resource), resource._pipeline)
        return view


if TYPE_CHECKING:
    from moonshot_async.resources.view_types import RawAccess as RawAccess
    from moonshot_async.resources.view_types import StreamedAccess as StreamedAccess
else:

    def RawAccess() -> _Access:  # noqa: N802  # for type checkers it is a class
        """`with_raw_response` of a resource."""
        return _Access(raw_view)

    def StreamedAccess() -> _Access:  # noqa: N802  # for type checkers it is a class
        """`with_streaming_response` of a resource."""
        return _Access(streamed_view)
