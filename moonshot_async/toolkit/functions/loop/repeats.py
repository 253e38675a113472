"""Calls that a model makes over and over: it is reminded, then it is stopped.

Those in one answer count as one: whoever rolls ten dice asks for the same ten times, and has seen no result yet.

See: https://platform.kimi.ai/docs/guide/use-tool-calls
"""

from collections import Counter
from collections.abc import Iterable

from moonshot_async.toolkit.functions.loop.calls import Call, same_call


class Repeats:
    """Counts the answers that call one tool with the same arguments.

    Args:
        remind_after: how many of them pass without a word; None for all.
        most: of how many the calls are run; None for all.
        before: name and arguments of the calls in each answer before this run.

    Attributes:
        stopped: whether there was one too many.
    """

    def __init__(
        self, remind_after: int | None, most: int | None, before: Iterable[Iterable[tuple[str, str]]] = ()
    ) -> None:
        self._remind_after = remind_after
        self._most = most
        self._counts = Counter(key for calls in before for key in {same_call(*call) for call in calls})
        # Which answer was counted last.
        self._steps: dict[tuple[str, str], int] = {}
        self.stopped = False

    def add(self, call: Call) -> int:
        """Count a call; gives how many answers there are with it now."""
        key = same_call(call.name, call.arguments)
        if self._steps.get(key) != call.step:
            self._steps[key] = call.step
            self._counts[key] += 1
        return self._counts[key]

    def too_many(self, count: int) -> bool:
        """Whether a call is one too many; then the run is to be stopped."""
        too_many = self._most is not None and count > self._most
        self.stopped = self.stopped or too_many
        return too_many

    def reminder(self, call: Call, count: int) -> str:
        """What is added to the answer to a call; empty for nothing."""
        if self._remind_after is None or count <= self._remind_after:
            return ""
        return (
            f"\n\n[Reminder: {count} of your messages have called {call.name} with the same arguments. Do not repeat "
            "it: use the results that you have, change the arguments, or answer.]"
        )

    def refusal(self, call: Call, count: int) -> str:
        """What answers a call that is one too many."""
        return f"This call was not run: {count} of your messages have called {call.name} with the same arguments."
