"""Markdown that arrives is cut where it will not change any more, and nothing of it gets lost."""

import re
import time
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from moonshot_async.cli.chat.blocks import Block, Blocks


def blocks(*pieces: str) -> list[Block]:
    cutting = Blocks()
    return [block for piece in pieces for block in cutting.feed(piece)] + list(cutting.finish())


def sources(text: str) -> list[str]:
    return [block.source for block in blocks(text)]


def test_an_empty_line_ends_a_paragraph() -> None:
    assert sources("one\ntwo\n\n\nthree") == ["one\ntwo", "three"]


def test_a_heading_is_done_with_its_line() -> None:
    cutting = Blocks()
    assert [block.source for block in cutting.feed("# One\nrest")] == ["# One"]
    assert sources("text\n## Two\nmore") == ["text", "## Two", "more"]
    assert sources("#hash\n#8 of 9") == ["#hash\n#8 of 9"]


def test_items_of_a_list_are_joined() -> None:
    found = blocks("Look:\n- one\n  more\n- two\n\n  still two\n\n- three\n\nend")
    assert [(block.source, block.joined) for block in found] == [
        ("Look:", False),
        ("- one\n  more", False),
        ("- two\n\n  still two", True),
        ("- three", True),
        ("end", False),
    ]


def test_inner_lists_stay_in_their_item() -> None:
    assert sources("1. a\n   - b\n   - c\n2. d") == ["1. a\n   - b\n   - c", "2. d"]


def test_only_the_first_number_of_a_list_counts() -> None:
    assert sources("3. a\n3. b\n9. c") == ["3. a", "4. b", "5. c"]


def test_another_mark_begins_another_list() -> None:
    assert [block.joined for block in blocks("- a\n* b\n1) c\n2. d")] == [False] * 4


def test_a_number_within_a_sentence_begins_no_list() -> None:
    assert sources("It was in\n1968. A good year.") == ["It was in\n1968. A good year."]
    assert sources("First:\n1. one") == ["First:", "1. one"]


def test_code_comes_line_by_line() -> None:
    found = blocks("Look:\n```py title\na = 1\n\n  b\n```\nend")
    assert [(block.kind, block.lines, block.opens, block.closes, block.joined) for block in found] == [
        ("text", [], False, False, False),
        ("code", ["a = 1"], True, False, False),
        ("code", [""], False, False, True),
        ("code", ["  b"], False, False, True),
        ("code", [], False, True, True),
        ("text", [], False, False, False),
    ]
    assert {block.language for block in found if block.kind == "code"} == {"py"}


def test_a_fence_is_closed_by_one_like_it() -> None:
    def lines(text: str) -> list[str]:
        return [line for block in blocks(text) for line in block.lines]

    assert lines("````\n```\n~~~\n````") == ["```", "~~~"]
    assert lines("~~~\n``` x\n~~~ y\n    ~~~\n~~~~") == ["``` x", "~~~ y", "    ~~~"]
    assert lines("  ```\n  a\n b\n     c\n  ```") == ["a", "b", "   c"]


def test_code_without_an_end_ends_with_the_text() -> None:
    assert blocks("```\na")[-1].closes
    assert [block.lines for block in blocks("```\n```")] == [[]]


def test_code_in_a_list_stays_in_its_item() -> None:
    text = "- a\n  ```\n  x\n\ny\n- no item\n  ```\n  more\n- b"
    assert sources(text) == ["- a\n  ```\n  x\n\ny\n- no item\n  ```\n  more", "- b"]


def test_a_tab_is_an_indent() -> None:
    assert sources("- a\n\n\tof it\n\nnot") == ["- a\n\n\tof it", "not"]


def test_lines_that_go_on_without_an_indent_belong_to_the_item() -> None:
    assert sources("- a\nlazy\n- b") == ["- a\nlazy", "- b"]


def test_indented_code_is_text_that_may_look_like_anything() -> None:
    assert sources("    # no heading\n    - no item\n    ```") == ["    # no heading\n    - no item\n    ```"]


def test_an_empty_item_begins_a_list_of_its_own() -> None:
    assert sources("a\n-\nb") == ["a\n-\nb"]
    assert sources("-\n- x") == ["-", "- x"]


def test_what_is_open_can_be_looked_at() -> None:
    cutting = Blocks()
    assert cutting.preview() is None
    list(cutting.feed("- a\n- b\n  mo"))
    assert cutting.preview() == Block("- b\n  mo", joined=True)
    list(cutting.feed("re\n\n  ```py\n  x = 1\n  y ="))
    assert cutting.preview() == Block("- b\n  more\n\n  ```py\n  x = 1\n  y =", joined=True)


def test_open_code_can_be_looked_at() -> None:
    cutting = Blocks()
    list(cutting.feed("```py\n"))
    assert cutting.preview() == Block("", "code", [], "py", opens=True)
    list(cutting.feed("x = 1\ny ="))
    assert cutting.preview() == Block("", "code", ["y ="], "py", joined=True)


def test_of_much_that_is_open_the_end_is_looked_at() -> None:
    cutting = Blocks()
    list(cutting.feed("word " * 10_000))
    list(cutting.feed("the end"))
    preview = cutting.preview()
    assert preview is not None
    assert preview.source.endswith("word the end")
    assert len(preview.source) <= 2000
    list(cutting.feed("\nline" * 10_000))
    preview = cutting.preview()
    assert preview is not None
    assert preview.source.endswith("line\nline")
    assert len(preview.source) <= 2000


LINES = [
    "",
    " ",
    "word",
    "  in",
    "    deep",
    "- a",
    " * b",
    "1. c",
    "2) d",
    "```",
    "```py",
    "~~~",
    "# h",
    "> q",
    "|a|b|",
]


@given(st.lists(st.sampled_from(LINES), max_size=12), st.lists(st.integers(0, 60), max_size=6))
@example(["- a", "```", "", "```", "word"], [3, 5])
def test_where_the_pieces_end_makes_no_difference(lines: list[str], cuts: list[int]) -> None:
    text = "\n".join(lines)
    places = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    pieces = [text[start:end] for start, end in pairwise(places)]
    assert blocks(*pieces) == blocks(text)


@given(st.lists(st.sampled_from(LINES), max_size=12))
def test_every_word_is_in_a_block(lines: list[str]) -> None:
    numbered = [f"{line} w{place}" if line.strip(" `~") else line for place, line in enumerate(lines)]
    found = blocks("\n".join(numbered))
    text = "\n".join("\n".join([block.source, block.language, *block.lines]) for block in found)
    wanted = [word for line in numbered for word in re.findall(r"w\d+", line) if "`" not in line and "~" not in line]
    assert [word for word in re.findall(r"w\d+", text) if word in wanted] == wanted


def test_a_long_text_costs_as_much_as_its_length() -> None:
    def seconds(count: int) -> float:
        cutting = Blocks()
        begun = time.process_time()
        for _ in range(count):
            list(cutting.feed("word "))
            if _ % 100 == 0:
                cutting.preview()
        list(cutting.finish())
        return time.process_time() - begun

    few = min(seconds(5_000) for _ in range(3))
    assert seconds(50_000) < 40 * max(few, 0.001)
