"""What a check says."""

from typing import Any, Final, Literal

import msgspec

Status = Literal["ok", "warn", "fail", "skip"]


class Finding(msgspec.Struct):
    """What one check found.

    Attributes:
        check: its name.
        status: "ok"; "warn" for what works, but not as it should; "fail" for what does not; "skip" where it could not
            be looked at.
        found: what was found, in a sentence.
        advice: what to do about it.
        details: the same as data, for programs.
    """

    check: str
    status: Status
    found: str
    advice: str = ""
    details: dict[str, Any] = {}


SUPPORT: Final = "Should that go on, ask the vendor's support, with the time and the request id."


def worst(findings: list[Finding]) -> Status:
    """The status of all of them together; what was skipped counts for nothing."""
    found = {finding.status for finding in findings}
    return "fail" if "fail" in found else "warn" if "warn" in found else "ok"


def milliseconds(seconds: float) -> str:
    """A time, for people."""
    return f"{seconds * 1000:.0f} ms"
