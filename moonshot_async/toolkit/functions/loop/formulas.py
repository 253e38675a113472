"""Tools that the vendor hosts, as tools of a run.

See: https://platform.kimi.ai/docs/guide/use-official-tools
"""

from typing import TYPE_CHECKING, Any

from moonshot_async.errors import APIResponseValidationError

if TYPE_CHECKING:
    from moonshot_async.client import AsyncMoonshot


class FormulaTool:
    """One function of a formula.

    Attributes:
        uri: of the formula.
        name: how the model calls it.
        param: the definition, as the vendor declares it.
        verbatim: the model gets the result letter by letter: some of it only the model can read.
    """

    verbatim = True

    def __init__(self, client: "AsyncMoonshot", uri: str, param: dict[str, Any]) -> None:
        self.uri = uri
        self.param = param
        self.name = str(param["function"]["name"])
        self._client = client

    async def call(self, arguments: str, *, context: Any = None) -> str:
        """Execute it, and return the result.

        Args:
            arguments: JSON, as the model wrote it.
            context: nothing here wants one.

        Raises:
            APIError: the execution failed; says why.
        """
        fiber = await self._client.formulas.fibers.create(self.uri, name=self.name, arguments=arguments)
        return fiber.result

    def __repr__(self) -> str:
        return f"FormulaTool({self.uri!r}, {self.name!r})"


async def formula_tools(client: "AsyncMoonshot", *uris: str) -> list[FormulaTool]:
    """Look up hosted tools, for `tools=` of `run_tools`: `*await formula_tools(client, "moonshot/date:latest")`.

    Args:
        client: looks them up now, and executes them later.
        *uris: of formulas; `client.formulas.list()` tells what there is.

    Raises:
        ConfigurationError: a URI names no formula; before any I/O.
        NotFoundError: there is no such formula.
        APIError: in all its other kinds.

    See: https://platform.kimi.ai/docs/guide/use-official-tools
    """
    found: list[FormulaTool] = []
    for uri in uris:
        for param in await client.formulas.tools(uri):
            function = param.get("function")
            if not isinstance(function, dict) or not isinstance(function.get("name"), str):
                raise APIResponseValidationError(message=f"The formula {uri} declares a tool without a name.")
            found.append(FormulaTool(client, uri, param))
    return found
