"""The page of a report in a real browser, on machines that have one; what it holds is tested without, too."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from moonshot_async.bulk.report import report_of
from tests.bulk.report.journals import outcome, write_start

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium or chrome on PATH")
FLAGS = (
    "--headless",
    # Browsers refuse to lock root in.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--enable-logging=stderr",
)


def opened(page: Path, directory: Path) -> tuple[str, list[str]]:
    """A page as a browser has it in the end, and what it told its console."""
    assert BROWSER is not None
    ran = subprocess.run(
        [BROWSER, *FLAGS, f"--user-data-dir={directory / 'browser'}", "--dump-dom", page.as_uri()],
        env={**os.environ, "HOME": str(directory)},
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    return ran.stdout, [line for line in ran.stderr.splitlines() if "CONSOLE" in line]


def test_a_browser_shows_the_page_and_has_nothing_to_say(tmp_path: Path) -> None:
    journal, page = tmp_path / "run.db", tmp_path / "report.html"
    failures = (("InternalServerError 503", 0.5, 0.5),)
    answered = [outcome(f"a-{each}", each, each + 1.5, failures=failures, limit_wait=1.0) for each in range(50)]
    write_start(journal, answered, limits={"rpm": 60, "tpm": 10_000})
    report_of(journal).write_html(page)

    shown, console = opened(page, tmp_path)

    assert console == []
    assert shown.count("<svg") == 6
    # The script ran, under the policy of the page.
    assert len(re.findall('class="tip"', shown)) == 6


def test_a_browser_that_finds_fault_is_heard(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text("<script>nothing.is.here</script><img src='http://moonshot.test/a.png'>")

    assert opened(page, tmp_path)[1]
