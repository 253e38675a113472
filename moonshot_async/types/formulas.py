"""Tools that the vendor hosts ("formulas") and their executions ("fibers").

See: https://platform.kimi.ai/docs/guide/use-official-tools
"""

from collections.abc import Iterator
from typing import Any, Final, TypeAlias

import msgspec

from moonshot_async.errors import APIError, APIResponseValidationError
from moonshot_async.headers import Unshown
from moonshot_async.types.model import Answer, Decode, Model, ModelDecoder, parse, shallow
from moonshot_async.types.pages import Page


class Formula(Model, kw_only=True):
    """A hosted tool; `uri` is what `tools` and `fibers.create` take, for example "moonshot/web-search:latest"."""

    uri: str = ""
    id: str = ""
    name: str = ""
    description: str = ""
    object: str = "formula"


FormulaList: TypeAlias = Page[Formula]


class FormulaTools(Answer, kw_only=True):
    """What a formula declares: `tools` go into `tools=` of a chat completion as they are."""

    tools: list[dict[str, Any]]
    object: str = "list"

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.tools)

    def __len__(self) -> int:
        return len(self.tools)


class FiberRequest(Unshown, msgspec.Struct, kw_only=True):
    """The body of an execution."""

    name: Any
    arguments: Any


class FiberContext(Model, kw_only=True):
    """What went into an execution and came out of it."""

    input: Any = None
    output: Any = None
    encrypted_output: str | None = None
    error: Any = None


class Fiber(Answer, kw_only=True):
    """One execution of a formula's function. `created_at` is in Unix seconds.

    Attributes:
        status: `succeeded`, or something else for a failure.
        context: input and output.
        error: why it failed, where the service says so here and not in `context.error`.
    """

    id: str = ""
    object: str = "fiber"
    created_at: int = 0
    lambda_id: str = ""
    status: str
    formula: str = ""
    organization_id: str = ""
    project_id: str = ""
    context: FiberContext = msgspec.field(default_factory=FiberContext)
    error: Any = None

    @property
    def succeeded(self) -> bool:
        """Whether there is a `result`."""
        return self.status == "succeeded"

    @property
    def failure(self) -> str | None:
        """What went wrong, in words that may be given to the model instead of a result; None if nothing did."""
        if self.succeeded:
            return None
        said = self.error or self.context.error or f"the execution ended as {self.status!r}"
        return str(said.get("message") or said) if isinstance(said, dict) else str(said)

    @property
    def result(self) -> str:
        """What the function returned: the `content` of the tool message, verbatim. Some of it only the model can read.

        Raises:
            APIError: the execution failed; `.body` says how. `failure` tells it without raising.
        """
        if not self.succeeded:
            # What else is in a fiber (input, output, account) is for its owner, not for a log with exceptions in it.
            body = {"id": self.id, "status": self.status, "error": shallow(self.error or self.context.error)}
            raise APIError(f"The formula {self.formula or self.lambda_id} failed: {self.failure}", body=body)
        output = self.context.output
        if output is None:
            return self.context.encrypted_output or ""
        return output if isinstance(output, str) else msgspec.json.encode(output).decode()

    def __repr__(self) -> str:
        return f"Fiber(id={self.id!r}, formula={self.formula!r}, status={self.status!r})"


class _FiberDecoder:
    """Decode a fiber. Its `error` is a part of it, where in other answers one stands instead of the answer."""

    cls: Final[Any] = Fiber

    def __init__(self) -> None:
        self._decode = ModelDecoder(Fiber)

    def __call__(self, data: bytes, /) -> Fiber:
        try:
            return self._decode(data)
        except APIResponseValidationError:
            raise
        except APIError:
            tree = parse(data)
            if "status" not in tree:
                raise
        error = tree.pop("error")
        fiber = self._decode(msgspec.json.encode(tree))
        fiber.error = error
        return fiber


decode_formulas: Final = ModelDecoder(Page[Formula])
decode_tools: Final = ModelDecoder(FormulaTools)
decode_fiber: Final[Decode[Fiber]] = _FiberDecoder()
