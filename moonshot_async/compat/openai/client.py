"""`AsyncOpenAI`: the client, with the keywords that only the openai package has."""

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from moonshot_async.client import AsyncMoonshot
from moonshot_async.clocks import Timeout as Clocks
from moonshot_async.redaction import Unseen
from moonshot_async.types.encoding import NOT_GIVEN

# They choose another way to sign in, or another service.
_UNUSABLE: Final = ("data_residency", "provider", "workload_identity")
# They change nothing where there is no second key, no webhook and no other place for credentials.
_IGNORED: Final = ("_enforce_credentials", "_extra_kwargs", "admin_api_key", "webhook_secret")


class AsyncOpenAI(AsyncMoonshot):
    """`AsyncMoonshot` under the name that the openai package gives it.

    `admin_api_key`, `webhook_secret` and `_enforce_credentials` are ignored; `provider`, `data_residency` and
    `workload_identity` are refused, since they ask for another service.

    Raises:
        TypeError: a keyword does not exist, or cannot be honoured; names what to use.
        ConfigurationError: a setting cannot work.
    """

    if not TYPE_CHECKING:  # pragma: no branch - type checkers shall know the keywords that do something only

        def __init__(self, **options: Any) -> None:
            with Unseen(options):
                super().__init__(**_understood(options))

        def with_options(self, **options: Any) -> "AsyncOpenAI":
            with Unseen(options):
                return super().with_options(**_understood(options))

        copy = with_options

        @cached_property
        def chat(self):
            """Chat completions."""
            from moonshot_async.compat.openai.reasoning import Chat

            return Chat(self._pipeline)


def _understood(options: dict[str, Any]) -> dict[str, Any]:
    for name in _UNUSABLE:
        if options.get(name):
            raise TypeError(f"{name} cannot be used here: it asks for another service than the Moonshot API")
    return {name: value for name, value in options.items() if name not in (*_IGNORED, *_UNUSABLE)}


if TYPE_CHECKING:
    from moonshot_async.clocks import Timeout as Timeout
else:

    class Timeout:
        """Makes a `moonshot_async.Timeout` of what httpx's `Timeout` takes.

        Args:
            timeout: seconds for each of the four clocks that is not named; None for no limit.
            connect, read, write, pool: seconds for one clock.
        """

        def __new__(cls, timeout=NOT_GIVEN, *, connect=NOT_GIVEN, read=NOT_GIVEN, write=NOT_GIVEN, pool=NOT_GIVEN):
            named = {"connect": connect, "read": read, "write": write, "pool": pool}
            given = {name: timeout if value is NOT_GIVEN else value for name, value in named.items()}
            return Clocks(**{name: value for name, value in given.items() if value is not NOT_GIVEN})
