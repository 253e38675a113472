"""Formulas, the vendor's hosted tools: listed, declared to the model, and executed.

See: https://platform.kimi.ai/docs/guide/use-official-tools
"""

from base64 import b64encode
from collections.abc import Callable
from typing import Any, Final

import msgspec

from moonshot_async.fake.account import ORGANIZATION, PROJECT, Account
from moonshot_async.fake.answers import WEB_SEARCH
from moonshot_async.fake.formula_tools import TOOLS, Memory, Tool, ToolError
from moonshot_async.fake.routes import Call, Route, json_response
from moonshot_async.fake.rules import RefusedError
from moonshot_async.wire import Response

_PATH: Final = "/v1/formulas"
_SPACE, _TAG = "moonshot/", ":latest"
_SEARCH: Final = "web-search"


class Formulas:
    """The endpoints.

    Args:
        clock: the time, in Unix seconds.
        account: pays for web searches; the others are free.
    """

    def __init__(self, clock: Callable[[], float], account: Account) -> None:
        self._clock = clock
        self._account = account
        self.clear()

    def clear(self) -> None:
        """Forget what the memory tool was told."""
        self._memory = Memory(self._clock)

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("GET", _PATH, self._list),
            Route("GET", _PATH + "/{uri+}/tools", self._tools),
            Route("POST", _PATH + "/{uri+}/fibers", self._execute),
        )

    def _list(self, call: Call) -> Response:
        formulas = [
            {
                "id": f"formula-{name}",
                "object": "formula",
                "uri": f"{_SPACE}{name}{_TAG}",
                "name": name,
                "description": tool.description,
            }
            for name, tool in TOOLS.items()
        ]
        return json_response({"object": "list", "data": formulas})

    def _tools(self, call: Call) -> Response:
        name, tool = _found(call)
        return json_response({"object": "list", "tools": [tool.declared(_function(name))]})

    def _execute(self, call: Call) -> Response:
        name, tool = _found(call)
        payload = call.json_object()
        for field in ("name", "arguments"):
            if not isinstance(payload.get(field), str):
                raise RefusedError(f"Invalid request: {field} is required and must be a string")
        if name == _SEARCH:
            self._account.check()
        told = msgspec.json.encode({"name": payload["name"], "arguments": payload["arguments"]}).decode()
        context: dict[str, Any] = {"input": told}
        fiber: dict[str, Any] = {
            "id": f"fiber-{call.number:012d}",
            "object": "fiber",
            "created_at": int(self._clock()),
            "lambda_id": f"lambda-{name}",
            "status": "succeeded",
            "context": context,
            "formula": call.values[0],
            "organization_id": ORGANIZATION,
            "project_id": PROJECT,
        }
        try:
            output = self._output(name, tool, payload)
        except ToolError as error:
            context["error"] = str(error)
            return json_response({**fiber, "status": "failed", "error": str(error)})
        context["encrypted_output" if tool.secret else "output"] = output
        return json_response(fiber)

    def _output(self, name: str, tool: Tool, payload: dict[str, str]) -> str:
        if payload["name"] != _function(name):
            raise ToolError(f"function {payload['name']} is not found in this formula")
        output = tool.run(self._memory, tool.checked(payload["arguments"]))
        if name == _SEARCH:
            self._account.charge_call(WEB_SEARCH)
        if not tool.secret:
            return output
        # Not encrypted in earnest, but nothing that a program should read.
        hidden = b64encode(output.encode("utf-8", "surrogatepass")[::-1]).decode()
        return f"----MOONSHOT ENCRYPTED BEGIN----{hidden}----MOONSHOT ENCRYPTED END----"


def _function(name: str) -> str:
    return name.replace("-", "_")


def _found(call: Call) -> tuple[str, Tool]:
    """The tool of a URI, whose slash and colon come as they are."""
    uri = call.values[0]
    name = uri.removeprefix(_SPACE).removesuffix(_TAG)
    tool = TOOLS.get(name)
    if tool is None or uri not in (f"{_SPACE}{name}{_TAG}", _SPACE + name):
        raise RefusedError("formula not found", status=404, type="resource_not_found_error")
    return name, tool
