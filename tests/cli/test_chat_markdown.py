"""Markdown as lines of a terminal: nothing gets lost, and nothing but styles is in it."""

import pytest
from rich.cells import cell_len
from rich.text import Text

from moonshot_async.cli.chat.blocks import Block, Blocks
from moonshot_async.cli.chat.markdown import Layout
from tests.cli.screens import STYLES, plain


def laid_out(text: str, width: int = 40, *, color: str | None = None) -> list[str]:
    layout, cutting = Layout(color), Blocks()
    found = [*cutting.feed(text), *cutting.finish()]
    return [line for block in found for line in layout.block(block, width)]


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("# Title", ["Title"]),
        ("one\ntwo", ["one", "two"]),
        ("*em* **strong** ~~gone~~ `code`", ["em strong gone code"]),
        ("- a\n- b\n  - c", [" • a", " • b", "    • c"]),
        ("7. a\n8. b", [" 7 a", " 8 b"]),
        ("> quote", ["▌ quote"]),
        ("|a|b|\n|-|-|\n|1|你好|", [" a  b", " ───────", " 1  你好"]),
        ("see [the page](https://x.test/a)", ["see the page (https://x.test/a)"]),
        ("<https://x.test> <me@x.test>", ["https://x.test me@x.test"]),
        ("![a roof](https://x.test/r.png) ![](https://x.test/i)", ["[a roof] (https://x.test/r.png) [image]"]),
        ("a <b>bold</b> word", ["a <b>bold</b> word"]),
        ("<div>\nblock\n</div>", ["<div>", "block", "</div>"]),
        ("[1]: https://x.test", ["[1]: https://x.test"]),
        ("```py\n\tx = 1\n\n```", ["```py", "    x = 1", "", "```"]),
        ("```\n```", ["```", "```"]),
        ("```no-such-language\na\n```", ["```no-such-language", "a", "```"]),
    ],
)
def test_blocks_are_laid_out(source: str, lines: list[str]) -> None:
    assert plain(laid_out(source))[: len(lines)] == lines


def test_lines_are_as_wide_as_the_terminal_at_most() -> None:
    text = "Rivers of Asia: 长江是亚洲第一长河也是世界第三长河全长六千三百公里 and so_on_" + "x" * 60
    for width in (9, 40, 79):
        lines = plain(laid_out(f"{text}\n\n- {text}\n\n> {text}\n\n|a|b|\n|-|-|\n|{text}|c|", width))
        assert max(map(cell_len, lines)) <= width
    assert "长江是亚洲" in "".join(plain(laid_out(text, 9))).replace(" ", "")


def test_code_is_broken_by_the_terminal_so_that_it_can_be_copied() -> None:
    code = "x = '" + "long " * 30 + "'"
    assert plain(laid_out(f"```py\n{code}\n```"))[1] == code
    folded = Layout(None).block(Block("", "code", [code], "py", opens=True), 40, fold=True)
    assert max(map(len, plain(folded))) <= 40


def test_code_has_the_colours_that_the_lines_before_it_call_for() -> None:
    layout = Layout("standard")
    first = layout.block(Block("", "code", ['text = """'], "py", opens=True), 40)
    again = layout.preview(Block("", "code", ["def"], "py"), 40)
    inside = layout.block(Block("", "code", ["def"], "py"), 40)
    outside = layout.block(Block("", "code", ["def"], "py", opens=True), 40)
    assert "\x1b[" in first[1]
    assert inside == again != outside[1:]
    assert layout.preview(Block("", "code", ["def"], "py", opens=True), 40) == outside


def test_lines_that_colouring_would_change_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moonshot_async.cli.chat.markdown.Syntax.highlight", lambda *args: Text("lost"))
    assert plain(laid_out("```py\none\ntwo\n```")) == ["```py", "one", "two", "```"]


def test_some_lines_have_no_colours() -> None:
    assert plain(laid_out("```py\n" + "y" * 3000 + "\n\x0c\n```"))[1:3] == ["y" * 3000, "␌"]


@pytest.mark.parametrize("color", [None, "standard", "truecolor"])
@pytest.mark.parametrize(
    "source",
    [
        "\x1b[2Jgone",
        "# \x1b]0;title\x07",
        "`\x1b[31m`",
        "```\x1b[31m\n\x1b[31m\n```",
        "[a](\x1b[31m)",
        "&#13;&#10;&#12;&#27;&#155;&#127;",
        "&#8238;drow &#x2066;",
        "|\x1b[31m|\n|-|\n|\x9b|",
        "- \x08\x08\x08",
        "![\x1b](\x1b)",
        "\u202edrow",
        "[x](https://x.test/%1b%0d)",
    ],
)
def test_nothing_but_styles_reaches_the_terminal(source: str, color: str | None) -> None:
    for width in (8, 40):
        for line in laid_out(source, width, color=color):
            rest = STYLES.sub("", line)
            assert rest.isprintable(), line
            assert "\u202e" not in rest


def test_no_colour_is_no_colour() -> None:
    lines = Layout("truecolor", no_color=True).block(Block("# a `b`"), 40)
    assert "\x1b[3" not in lines[0].replace("\x1b[3m", "")


def test_what_is_too_long_to_be_laid_out_is_shown_as_it_is() -> None:
    lines = laid_out("*a* " * 20_000)
    assert "".join(lines).replace(" ", "") == "*a*" * 20_000
