"""What a model is told of calls that failed."""

import pytest

from moonshot_async.errors import ToolArgumentsError, ToolCancelledError, ToolTimeoutError
from moonshot_async.toolkit.functions import tool
from moonshot_async.toolkit.functions.answers import cancelled_text, failure_text, refused_text, unknown_tool_text


def fetch_inner(key: str) -> None:
    raise LookupError(f"no {key}")


@tool
def fetch(key: str) -> None:
    fetch_inner(key)


class MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("no such city"), "Error: f failed with ValueError: no such city"),
        (ValueError(), "Error: f failed with ValueError"),
        (KeyError("a"), "Error: f failed with KeyError: 'a'"),
        (MuteError(), "Error: f failed with MuteError"),
        (TimeoutError("own"), "Error: f failed with TimeoutError: own"),
        (ValueError("\ud83d"), "Error: f failed with ValueError: ?"),
        (
            ExceptionGroup("two", [ValueError("a"), TypeError()]),
            "Error: f failed with ExceptionGroup: two (2 sub-exceptions): ValueError: a; TypeError",
        ),
        (
            ToolArgumentsError("The arguments of f are not valid: $.a is missing.", tool="f", text="{}", path="$.a"),
            "Error: The arguments of f are not valid: $.a is missing. Correct them and call it again.",
        ),
        (
            ToolTimeoutError(tool="f", seconds=2.5),
            "Error: The tool f did not end within 2.5 s. Whether it took effect is not known.",
        ),
        (
            ToolCancelledError(tool="f"),
            "Error: The tool f was cancelled from within. Whether it took effect is not known.",
        ),
    ],
)
def test_a_failure_is_told_by_class_and_message(error: BaseException, text: str) -> None:
    assert failure_text(error, "f") == text


def test_a_failure_may_be_told_without_what_it_was() -> None:
    assert failure_text(ValueError("secret"), "f", "none") == "Error: f failed."
    assert "2 s" in failure_text(ToolTimeoutError(tool="f", seconds=2), "f", "none")


def test_long_messages_are_cut() -> None:
    assert len(failure_text(ValueError("a" * 10_000), "f")) < 2100
    assert len(failure_text(ExceptionGroup("g", [ValueError("a" * 10_000)] * 50), "f")) < 2100


async def test_a_traceback_begins_in_the_function() -> None:
    for threaded in (fetch, tool(fetch)):
        with pytest.raises(LookupError) as caught:
            await threaded.call('{"key": "a"}')

        # The frame of the test itself stands before all.
        caught.value.__traceback__ = caught.value.__traceback__.tb_next  # type: ignore[union-attr]  # it was raised
        text = failure_text(caught.value, "fetch", "traceback")
        assert text.startswith("Error: fetch failed with LookupError: no a\n\nTraceback (most recent call last):\n")
        assert "in fetch_inner" in text
        assert "functions/running" not in text
        assert text.rstrip().endswith("LookupError: no a")


def test_a_long_traceback_is_cut_at_its_beginning() -> None:
    def deep(n: int) -> None:
        if n:
            deeper(n)
        raise ValueError("the end")

    def deeper(n: int) -> None:
        deep(n - 1)

    with pytest.raises(ValueError, match="the end") as caught:
        deep(200)
    text = failure_text(caught.value, "f", "traceback")
    assert len(text) < 6100
    assert text.rstrip().endswith("ValueError: the end")


def test_an_unknown_tool_is_answered_with_those_there_are() -> None:
    known = ["send_mail", "get_weather", "get_water"]

    assert unknown_tool_text("get_wether", known) == (
        "Error: there is no tool get_wether. Do you mean get_weather? There is: get_weather, get_water, send_mail."
    )
    assert unknown_tool_text("x", known) == ("Error: there is no tool x. There is: send_mail, get_weather, get_water.")
    assert unknown_tool_text("x", []) == "Error: there is no tool x: there are none at all. Answer without."
    many = unknown_tool_text("f99", [f"f{n}" for n in range(100)])
    assert many.startswith("Error: there is no tool f99. Do you mean f99? There is: f99, ")
    assert many.endswith(" and 80 more.")
    assert len(unknown_tool_text("\ud83d" * 10_000, known)) < 300


def test_what_was_not_run_is_told_so() -> None:
    assert refused_text("f") == "Error: the call of f was not approved, and not made."
    assert refused_text("f", "too dear") == "Error: the call of f was not approved, and not made: too dear"
    assert cancelled_text("f", begun=False) == "Error: the call of f was cancelled before it began."
    assert cancelled_text("f", begun=True) == (
        "Error: the call of f was cancelled before it ended. Whether it took effect is not known."
    )
