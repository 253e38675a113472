"""What is said of a request that is not sent for its tokens, and what to do about it."""

from moonshot_async.errors import LimitReachedError
from moonshot_async.middleware.limit_store import Limits, Need, Refusal
from moonshot_async.wire import Request


def refuse_too_large(need: Need, limits: Limits, request: Request) -> None:
    """Refuse a request that alone passes a limit.

    Raises:
        LimitReachedError: so it does.
    """
    if limits.tpm is not None and need.tokens > limits.tpm:
        raise LimitReachedError(
            f"Not sent: the request needs about {need.tokens} tokens ({need.prompt_tokens} for the prompt,"
            f" {need.max_completion_tokens} for the answer), and the account has {limits.tpm} a minute, so that it can"
            " never be admitted. Lower max_completion_tokens, or shorten the messages.",
            request,
            limit="tpm",
            needed=need.tokens,
            allowed=limits.tpm,
        )
    if limits.tpd is not None and need.prompt_tokens > limits.tpd:
        raise LimitReachedError(
            f"Not sent: the prompt has about {need.prompt_tokens} tokens, and the account has {limits.tpd} a day, so"
            " that it can never be admitted. Shorten the messages.",
            request,
            limit="tpd",
            needed=need.prompt_tokens,
            allowed=limits.tpd,
        )


def not_today(need: Need, limits: Limits, refusal: Refusal, request: Request) -> LimitReachedError:
    """The error for a request that the tokens of the day do not suffice for: that is nothing to wait for."""
    again = "" if refusal.wait is None else f" There will be enough in {refusal.wait:.0f} s."
    return LimitReachedError(
        f"Not sent: the prompt has about {need.prompt_tokens} tokens, and less is left of the {limits.tpd} that the"
        f" account has a day.{again}",
        request,
        limit="tpd",
        needed=need.prompt_tokens,
        allowed=limits.tpd or 0,
        retry_after=refusal.wait,
    )
