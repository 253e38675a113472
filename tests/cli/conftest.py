"""What tests of the command line share."""

from collections.abc import Iterator

import pytest

from moonshot_async.fake import FakeMoonshot
from tests.cli.command_line import Service, serving


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of who runs the tests: no key, no address, no taste in colours."""
    for name in (
        *("MOONSHOT_API_KEY", "KIMI_API_KEY", "MOONSHOT_BASE_URL", "KIMI_BASE_URL", "MOONSHOT_MODEL"),
        *("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"),
        *("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS"),
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.fixture
def service() -> Iterator[Service]:
    """The embedded service over HTTP: `service.asked("balance")`."""
    with serving(FakeMoonshot) as (fake, url):
        yield Service(fake, url)
