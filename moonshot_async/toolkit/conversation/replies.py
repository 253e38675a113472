"""What a conversation hands out for a question, and what its answers cost together."""

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from moonshot_async.errors import ConfigurationError
from moonshot_async.partial_mode import summed
from moonshot_async.types.chat import ChatCompletion, ToolCall, Usage

if TYPE_CHECKING:
    from moonshot_async.catalog import CacheTtl
    from moonshot_async.client import AsyncMoonshot


class Reply:
    """The answer to a question; `str(reply)` is its text.

    Attributes:
        completion: the answer as the API gave it; of a question for which tools were run, the last one.
        usage: tokens of all requests that the question took; None where the server told none.
        cost: of all of them, in the currency of the account; None where it is not known.
        stopped: why tools were not run to the end: "max_steps" and so on, see `run_tools`; None where nothing stopped
            them, or none were run.
    """

    __slots__ = ("completion", "cost", "stopped", "usage")

    def __init__(
        self, completion: ChatCompletion, usage: Usage | None, cost: Decimal | None, stopped: str | None = None
    ) -> None:
        self.completion = completion
        self.usage = usage
        self.cost = cost
        self.stopped = stopped

    @property
    def text(self) -> str:
        """What the model says; empty where it calls tools instead, or only thought."""
        return self.completion.choices[0].message.content or ""

    @property
    def reasoning(self) -> str:
        """What the model thought before; empty where it did not."""
        message = self.completion.choices[0].message
        return message.reasoning_content or message.reasoning or ""

    @property
    def tool_calls(self) -> list[ToolCall]:
        """The calls that are to be answered with `add_tool_answer`; none where tools were run."""
        return list(self.completion.choices[0].message.tool_calls or ())

    @property
    def finish_reason(self) -> str | None:
        """Why the model stopped: "stop", "length", "tool_calls", or something newer."""
        return self.completion.choices[0].finish_reason

    @property
    def cut(self) -> bool:
        """Whether the answer is not whole: `max_completion_tokens` or moderation cut it."""
        return self.finish_reason in ("length", "content_filter")

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<Reply: {len(self.text)} characters, {len(self.tool_calls)} tool calls, {self.finish_reason}>"


class Spent:
    """What the answers of a conversation took.

    Attributes:
        answers: how many there were, those to requests with which tools were run included.
        usage: tokens of those that told them.
        cost: of those whose price is known.
        unpriced: how many have none.
    """

    __slots__ = ("answers", "cost", "unpriced", "usage")

    def __init__(self) -> None:
        self.answers = 0
        self.usage: Usage | None = None
        self.cost = Decimal(0)
        self.unpriced = 0

    def add(self, usage: Usage | None, cost: Decimal | None) -> None:
        """Take note of one answer."""
        self.answers += 1
        self.usage = summed([self.usage, usage])
        if cost is None:
            self.unpriced += 1
        else:
            self.cost += cost


def told(usage: Usage | None) -> Usage | None:
    """A usage that tells something: some hosts send one of zeros."""
    return usage if usage is not None and (usage.prompt_tokens or usage.completion_tokens) else None


def cost_of(client: "AsyncMoonshot", completion: ChatCompletion, options: dict[str, Any]) -> Decimal | None:
    """What an answer cost; None where its usage or its price is not known."""
    try:
        return client.cost(completion, cache_ttl=cache_ttl_of(options))
    except ConfigurationError:
        return None


def cache_ttl_of(options: dict[str, Any]) -> "CacheTtl":
    """How long what is written to the cache lives, by `prompt_cache_options`."""
    cached = options.get("prompt_cache_options")
    return "1h" if isinstance(cached, dict) and cached.get("ttl") == "1h" else "5m"
