"""What a command works with: settings from the command line, a client, the output, an event loop."""

import os
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from moonshot_async.cli.output import Output

if TYPE_CHECKING:
    from moonshot_async.client import AsyncMoonshot

T = TypeVar("T")

KEY_VARIABLES: Final = ("MOONSHOT_API_KEY", "KIMI_API_KEY")


class State:
    """One run of the program.

    Attributes:
        json: whether to print JSON; set at `output`.
        offline: whether the embedded service answers.
        region, base_url: as given; see `url`.
        timeout: seconds for each call; None for what the client does by itself.
        verbose: whether to tell what is sent, and to show tracebacks.
        output: where results go.
    """

    def __init__(self) -> None:
        self.offline = False
        self.region: str | None = None
        self.base_url: str | None = None
        self.timeout: float | None = None
        self.output = Output()
        self.verbose = False
        self._key: str | None = None

    @property
    def json(self) -> bool:
        return self.output.json

    @property
    def url(self) -> str | None:
        """What `--base-url` or `--region` say; None where neither was given, so that the environment counts.

        Raises:
            click.UsageError: both were given.
            ConfigurationError: it is no URL.
        """
        self.check_url()
        if self.base_url:
            return self.base_url
        if self.region:
            from moonshot_async.settings import region_url

            return region_url(self.region)
        return None

    def check_url(self) -> None:
        """Refuse settings that cannot work; raises as `url`."""
        if self.base_url and self.region:
            raise click.UsageError("--base-url says where the API is, so --region would have no effect: give one.")
        if self.base_url:
            from moonshot_async.settings import checked_url

            self.base_url = checked_url(self.base_url, "--base-url")

    def run(self, work: Coroutine[Any, Any, T], *, needs_key: bool = True) -> T:
        """Run a coroutine to its end, under an event loop of its own.

        Args:
            work: what a command does.
            needs_key: ask for the key first, hidden, where there is none and somebody sits at the terminal. That
                cannot wait for `client`: nothing could interrupt a prompt that blocks an event loop.

        Raises:
            KeyboardInterrupt: Ctrl-C; `work` was cancelled and has cleaned up.
            SystemExit: 143, the same for SIGTERM; 129 for SIGHUP.
        """
        import asyncio

        from moonshot_async.cli.logs import shown_logs
        from moonshot_async.cli.signals import until_terminated

        try:
            if needs_key:
                self.ask_for_key()
            whole = until_terminated(work)
        except BaseException:
            work.close()
            raise
        with shown_logs(self.verbose):
            return asyncio.run(whole)

    def ask_for_key(self) -> None:
        """Ask for the key if there is none; not with `--offline`.

        Raises:
            click.UsageError: nobody sits at the terminal, or the settings contradict each other.
            ConfigurationError: a setting cannot work: nobody is to type a key for nothing.
        """
        self.check_url()
        if self.offline or self._key or any(os.environ.get(name) for name in KEY_VARIABLES):
            return
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise click.UsageError(
                "No API key: set the environment variable MOONSHOT_API_KEY. Keys are made at https://platform.kimi.ai "
                "(--region intl) and https://platform.kimi.com (--region cn). --offline needs none."
            )
        self._key = click.prompt("API key (not shown; or set MOONSHOT_API_KEY)", hide_input=True, err=True)

    @asynccontextmanager
    async def client(
        self, *, samples: bool = False, pace: float = 0.0, **options: Any
    ) -> "AsyncIterator[AsyncMoonshot]":
        """A client for the settings of the command line: `async with state.client() as client:`.

        Args:
            samples: with `--offline`, whether the embedded service has some files and a batch already.
            pace: with `--offline`, seconds before each piece of an answer.
            **options: of `AsyncMoonshot`.

        Raises:
            ConfigurationError: there is no key, or a setting cannot work.
        """
        if self.timeout is not None:
            options["timeout"] = self.timeout
        if self.offline:
            from moonshot_async.cli.offline import offline_client

            client = await offline_client(self.url, samples=samples, pace=pace, **options)
        else:
            from moonshot_async.client import AsyncMoonshot
            from moonshot_async.transports.aiohttp import AiohttpTransport

            # Proxies of the environment, as programs at a terminal have them; `moonshot doctor` looks at the same.
            options.setdefault("transport", AiohttpTransport(trust_env=True))
            client = AsyncMoonshot(api_key=self._key, base_url=self.url, **options)
        async with client:
            yield client

    def hidden(self, text: str) -> str:
        """A text without the key, should it have got into it."""
        for key in (self._key, *(os.environ.get(name) for name in KEY_VARIABLES)):
            if key and len(key.strip()) > _SHORTEST_KEY:
                text = text.replace(key.strip(), "***")
        return text


# Shorter ones are words of self-hosted services, and would be found in every text.
_SHORTEST_KEY: Final = 8
