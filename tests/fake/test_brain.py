from hypothesis import given
from hypothesis import strategies as st

from moonshot_async.fake import brain

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(TEXTS)
def test_the_pieces_of_any_text_join_to_the_text(text: str) -> None:
    pieces = brain.pieces(text)

    assert "".join(pieces) == text
    assert all(pieces)


@given(TEXTS, TEXTS)
def test_any_prompt_gets_an_answer_of_several_sentences_that_quotes_it(prompt: str, salt: str) -> None:
    answer = brain.compose(prompt, brain.digest(salt))

    assert answer == brain.compose(prompt, brain.digest(salt))
    assert len(brain.pieces(answer)) > 3
    assert " ".join(prompt.split())[:20] in answer
    assert brain.reflect(prompt, brain.digest(salt))


@given(TEXTS, st.integers(0, 50))
def test_a_clipped_text_is_a_beginning_within_the_budget(text: str, tokens: int) -> None:
    clipped = brain.clip(text, tokens)

    assert text.startswith(clipped)
    assert brain.count_tokens(clipped) <= tokens
    assert clipped == text or brain.count_tokens(text) > tokens


def test_answers_stay_the_same_from_run_to_run() -> None:
    assert brain.compose("How far is the moon?", brain.digest("a")) == (
        "Here is what I make of “How far is the moon?”. Ask again and you will get this answer again, down to the last "
        "comma. There are three things to say: first, that it depends; second, on what; third, on “moon”. In short: "
        "yes, with 5 reservations."
    )


def test_another_seed_gives_another_answer() -> None:
    answers = {brain.compose("Hi", brain.digest(str(number))) for number in range(50)}

    assert len(answers) > 20


def test_a_chinese_prompt_gets_a_chinese_answer() -> None:
    assert brain.compose("你好", brain.digest("a")).startswith(("你说的是“你好”", "关于“你好”"))


def test_a_long_prompt_is_quoted_in_part() -> None:
    answer = brain.compose("word " * 100, brain.digest("a"))

    assert "word…”" in answer
    assert len(answer) < 600


def test_braces_in_a_prompt_are_text() -> None:
    assert "{0} {words}" in brain.compose("{0} {words}", brain.digest("a"))


def test_tokens_are_four_bytes_long_rounded_up() -> None:
    assert [brain.count_tokens(text) for text in ("", "a", "abcd", "abcde", "你好")] == [0, 1, 1, 2, 2]


def test_the_keyword_is_a_name_before_it_is_a_long_word() -> None:
    assert brain.keyword("What is the weather in Oslo today?") == "Oslo"
    assert brain.keyword("what a wonderful day") == "wonderful"
    assert brain.keyword("!?") == "text"


def test_a_list_of_names_gives_a_keyword_for_each() -> None:
    assert brain.keywords("Compare Oslo and Bergen") == ["Oslo", "Bergen"]
    assert brain.keywords("weather in New York, Oslo, and Rome today") == ["New York", "Oslo", "Rome"]
    assert brain.keywords("Fish and chips in Oslo") == ["Oslo"]
    assert brain.keywords("") == ["text"]


@given(TEXTS)
def test_the_tokens_of_any_text_join_to_the_text(text: str) -> None:
    assert "".join(brain.tokens(text)) == text


def test_words_are_compared_without_case_and_without_the_glue_of_identifiers() -> None:
    assert brain.words_of("getWeather send_mail") == {"get", "weather", "send", "mail"}
    assert brain.words_of("查天气") == {"查天", "天气"}
    assert brain.words_of("好") == {"好"}
