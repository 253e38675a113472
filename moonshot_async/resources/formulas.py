"""Tools that the vendor hosts: their declarations for a model, and their execution.

See: https://platform.kimi.ai/docs/guide/use-official-tools
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Unpack

from moonshot_async.errors import ConfigurationError, NotFoundError
from moonshot_async.redaction import Unseen
from moonshot_async.resources.call import BodyOptions, CallOptions, Resource, check_options, post, quoted
from moonshot_async.resources.listing import Listing
from moonshot_async.types.encoding import to_json
from moonshot_async.types.formulas import (
    Fiber,
    FiberRequest,
    Formula,
    FormulaList,
    FormulaTools,
    decode_fiber,
    decode_formulas,
    decode_tools,
)


class Formulas(Resource):
    """`client.formulas`. A formula is named by its URI, for example "moonshot/web-search:latest"."""

    @cached_property
    def fibers(self) -> "Fibers":
        """Execute functions of formulas."""
        return Fibers(self._pipeline)

    def list(self, **options: Unpack[CallOptions]) -> Listing[FormulaList, Formula]:
        """List the formulas that the account may use: `await` it for `.data`, or `async for` over them.

        See: https://platform.kimi.ai/docs/guide/use-official-tools
        """
        return Listing(self._pipeline, "/formulas", decode_formulas, options=options)

    async def tools(self, uri: str, **options: Unpack[CallOptions]) -> FormulaTools:
        """Look up the functions of a formula, ready for `tools=` of a chat completion: `.tools`.

        Raises:
            ConfigurationError: `uri` is no URI of a formula; before any I/O.
            NotFoundError: there is no such formula.
            APIError: in all its other kinds.

        See: https://platform.kimi.ai/docs/guide/use-official-tools
        """
        check_options(options, call="tools")
        request = self._pipeline.request("GET", _formula_path(uri, "tools"), **options)
        try:
            return await self._pipeline.fetch(request, decode_tools)
        except NotFoundError as error:
            _hint(error, uri)
            raise


class Fibers(Resource):
    """`client.formulas.fibers`: a fiber is one execution of a formula's function."""

    async def create(
        self, uri: str, *, name: str, arguments: str | Mapping[str, Any], **options: Unpack[BodyOptions]
    ) -> Fiber:
        """Execute a function and wait for its end. Web search costs a fee for each call; the rest is free for now.

        Args:
            uri: of the formula that declares the function.
            name: `tool_call.function.name`.
            arguments: `tool_call.function.arguments`, the JSON text as the model wrote it; or a mapping.
            **options: see `BodyOptions`.

        Returns:
            The fiber. Its `.result` is the `content` of the tool message; an execution that failed raises there,
            and tells why in `.failure`.

        Raises:
            ConfigurationError: `uri` is no URI of a formula; before any I/O.
            NotFoundError: there is no such formula.
            APIError: in all its other kinds.

        See: https://platform.kimi.ai/docs/guide/use-official-tools
        """
        try:
            with Unseen(options):
                body = _fiber_request(name, arguments)
                request = post(self._pipeline, _formula_path(uri, "fibers"), body, options, call="create")
        finally:
            del arguments
        try:
            return await self._pipeline.fetch(request, decode_fiber)
        except NotFoundError as error:
            _hint(error, uri)
            raise


def _fiber_request(name: str, arguments: str | Mapping[str, Any]) -> FiberRequest:
    text = arguments if isinstance(arguments, str) else to_json(arguments).decode()
    return FiberRequest(name=name, arguments=text)


def _formula_path(uri: str, leaf: str) -> str:
    """The address of something below a formula; slash and colon of the URI stand in it as they are.

    Raises:
        ConfigurationError: the URI would lead elsewhere.
    """
    parts = uri.split("/") if isinstance(uri, str) else []
    if not parts or any(not part.strip() or part in (".", "..") for part in parts):
        raise ConfigurationError(f"uri must name a formula, for example 'moonshot/web-search:latest', not {uri!r}")
    return f"/formulas/{quoted(uri, 'uri', safe='/:')}/{leaf}"


def _hint(error: NotFoundError, uri: str) -> None:
    if "_" in uri:
        error.add_note(
            f"URIs of formulas mostly have hyphens where their functions have underscores: not {uri!r}, but "
            f"{uri.replace('_', '-')!r}?"
        )
