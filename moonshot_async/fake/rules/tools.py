"""Rules about the definitions of tools, and the choice among them.

See: https://platform.kimi.ai/docs/guide/use-tool-choice
"""

import re
from typing import Any, Final

from moonshot_async.fake.counting import WEB_SEARCH
from moonshot_async.fake.rules.basics import Payload, RefusedError, all_tools, check_schema, expect

MAX_TOOLS: Final = 128
BUILTINS: Final = frozenset({WEB_SEARCH})

_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]{0,127}")


def check_tools(payload: Payload) -> None:
    """Definitions, wherever they stand: in the request or in system messages."""
    expect(payload, "tools", list, "a list")
    tools = list(all_tools(payload))
    if len(tools) > MAX_TOOLS:
        raise RefusedError(f"Invalid request: tools must not hold more than {MAX_TOOLS} tools")
    seen: set[str] = set()
    for tool in tools:
        name = _check_tool(tool)
        if name in seen:
            raise RefusedError(f"Invalid request: function name {name} is duplicated")
        seen.add(name)


def check_choice(payload: Payload) -> None:
    """What `tool_choice` may be, and what it may name."""
    choice = payload.get("tool_choice")
    if isinstance(choice, dict):
        function = choice.get("function")
        names = {tool["function"]["name"] for tool in all_tools(payload)}
        name = function.get("name") if isinstance(function, dict) else None
        if choice.get("type") != "function" or not isinstance(name, str) or name not in names:
            raise RefusedError("Invalid request: tool_choice names no function of tools")
    elif choice not in (None, "auto", "none", "required"):
        raise RefusedError(f"Invalid request: unsupported tool_choice: {choice!r}")
    elif choice == "required" and not any(all_tools(payload)):
        raise RefusedError("Invalid request: tool_choice 'required' needs tools")


def _check_tool(tool: Any) -> str:
    """Check one definition and return its name."""
    kind = tool.get("type") if isinstance(tool, dict) else None
    if kind not in ("function", "builtin_function"):
        raise RefusedError(
            f"Invalid request: unknown tool type: {'' if kind is None else kind}, currently only function and plugin "
            "are supported"
        )
    function = tool.get("function")
    if not isinstance(function, dict):
        raise RefusedError("Invalid request: tools must have a function with a name")
    name = function.get("name")
    if kind == "builtin_function":
        if not isinstance(name, str) or name not in BUILTINS:
            raise RefusedError(f"Invalid request: unknown builtin_function: {name}")
        return name
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise RefusedError(
            "Invalid request: function name is invalid, must start with a letter and can contain letters, numbers, "
            "underscores, and dashes"
        )
    _check_function(function)
    return name


def _check_function(function: Payload) -> None:
    where = "tools.function"
    if not isinstance(function.get("description") or "", str):
        raise RefusedError(f"Invalid request: {where}.description must be a string")
    strict = function.get("strict")
    if not isinstance(strict, bool | None):
        raise RefusedError(f"Invalid request: {where}.strict must be a boolean")
    parameters = function.get("parameters")
    if parameters is None:
        raise RefusedError(f"Invalid request: {where}.parameters is required")
    if not isinstance(parameters, dict):
        raise RefusedError(f"Invalid request: {where}.parameters must be an object")
    if strict is not False:
        # Without it the arguments are any JSON object, so that the schema is a hint and not judged.
        check_schema(parameters, f"{where}.parameters", f"{where}.parameters")
