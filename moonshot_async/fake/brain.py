"""The model of the fake: readable text that depends on the prompt alone, the same on every machine and run.

Everything hangs on BLAKE2 digests, never on `hash()`, a clock or a random number, so that a test may write down what
it got, and so that a streamed, a repeated and a continued answer agree to the letter.
"""

import re
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

# The vendor's tokenizer is not shipped; about 4 bytes a token is right for English, and no program may rely on more.
BYTES_PER_TOKEN: Final = 4

_QUOTE_LENGTH: Final = 60
_WORD: Final = re.compile(r"[^\W_]+")
# Chinese and Japanese have no spaces to split at: two characters make a token there.
_TOKEN: Final = re.compile(r"\s*(?:[\u2e80-\u9fff\uf900-\uffef]{1,2}|[^\s\u2e80-\u9fff\uf900-\uffef]{1,12})|\s+")
_HAN: Final = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
_NAME: Final = r"[A-Z][^\W_]+(?: [A-Z][^\W_]+)*"
_NAMES: Final = re.compile(rf"\b({_NAME}(?:, {_NAME})*),? (?:and|or|&) ({_NAME})")

_OPENINGS: Final = (
    "You wrote “{quote}”, so let us start there.",
    "“{quote}” is a good question to ask a fake.",
    "Here is what I make of “{quote}”.",
    "Thank you for “{quote}”; I read it twice.",
)
_MIDDLES: Final = (
    "Your message holds {words} words, and the longest of them is “{longest}”.",
    "It comes to {characters} characters, which is neither long nor short.",
    "The word “{longest}” carries most of the meaning, as long words tend to do.",
    "A real model would now weigh its options; I only count to {words}.",
    "Nothing of this left your machine, not even the word “{longest}”.",
    "Ask again and you will get this answer again, down to the last comma.",
    "There are three things to say: first, that it depends; second, on what; third, on “{longest}”.",
)
_ENDINGS: Final = (
    "That is all I know.",
    "I hope that this helps.",
    "In short: yes, with {words} reservations.",
    "Tell me more, and I will say more.",
)
_HAN_OPENINGS: Final = ("你说的是“{quote}”。我们就从这里开始。", "关于“{quote}”的看法如下。")
_HAN_MIDDLES: Final = (
    "这条消息一共有{characters}个字符。",
    "再问一次你还会得到完全相同的回答。",
    "这一切都没有离开你的电脑。",
    "真正的模型会在这里权衡利弊。我只会数数。",
)
_HAN_ENDINGS: Final = ("我知道的就是这些。", "希望对你有帮助。")
_THOUGHTS: Final = (
    "The user says “{quote}”.",
    "That is {words} words to answer.",
    "The key word seems to be “{longest}”.",
    "I should stay brief and say only what I can count.",
)


def digest(*parts: str) -> bytes:
    """32 bytes that stay the same for the same parts."""
    return blake2b("\x1f".join(parts).encode("utf-8", "surrogatepass"), digest_size=32).digest()


def compose(prompt: str, seed: bytes) -> str:
    """Answer `prompt` in three to six sentences, in Chinese where it holds Chinese; `seed` picks the sentences."""
    chinese = _HAN.search(prompt) is not None
    openings, middles, endings = (
        (_HAN_OPENINGS, _HAN_MIDDLES, _HAN_ENDINGS) if chinese else (_OPENINGS, _MIDDLES, _ENDINGS)
    )
    count = 1 + seed[0] % (4 if not chinese else 2)
    first = seed[1] % len(middles)
    sentences = [
        _pick(openings, seed[2]),
        *(middles[(first + step) % len(middles)] for step in range(count)),
        _pick(endings, seed[3]),
    ]
    gap = "" if chinese else " "
    body = gap.join(sentences[:-1])
    return _fill(body + ("\n\n" if seed[4] % 2 else gap) + sentences[-1], prompt)


def reflect(prompt: str, seed: bytes, sentences: int = 2) -> str:
    """The reasoning that goes before an answer."""
    first = seed[5] % len(_THOUGHTS)
    return _fill(" ".join(_THOUGHTS[(first + step) % len(_THOUGHTS)] for step in range(sentences)), prompt)


def keyword(prompt: str) -> str:
    """The word that an argument may be made of: the last name-like word after the first one, else the longest."""
    words = _WORD.findall(prompt)
    names = [word for word in words[1:] if word[0].isupper() and len(word) > 1]
    return names[-1] if names else max(words, key=len, default="text")


def keywords(prompt: str) -> list[str]:
    """What calls may be about, one each: the names of the first "A, B and C" after the first word, else the keyword."""
    _, _, rest = prompt.lstrip().partition(" ")
    listed = _NAMES.search(rest)
    return [*listed[1].split(", "), listed[2]] if listed else [keyword(prompt)]


def words_of(text: str) -> set[str]:
    """The words of a text, to compare: case folded, camelCase and snake_case split, Chinese in pairs of characters."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text)
    words: set[str] = set()
    for word in _WORD.findall(spaced.casefold()):
        if _HAN.search(word):
            words.update(word[place : place + 2] for place in range(max(1, len(word) - 1)))
        else:
            words.add(word)
    return words


def pieces(text: str) -> list[str]:
    """Split a text into what a stream sends one by one: one to three tokens each; joined they are the text again."""
    parts = tokens(text)
    sizes = digest(text)
    cut: list[str] = []
    place = 0
    while place < len(parts):
        size = 1 + sizes[len(cut) % len(sizes)] % 3
        cut.append("".join(parts[place : place + size]))
        place += size
    return cut


def tokens(text: str) -> list[str]:
    """Split a text where a tokenizer might; joined they are the text again."""
    return _TOKEN.findall(text)


def count_tokens(text: str) -> int:
    """Estimate the tokens of a text; 0 only for the empty one."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN)


def clip(text: str, tokens: int) -> str:
    """The longest beginning of `text` that has no more than `tokens` tokens."""
    return text.encode()[: tokens * BYTES_PER_TOKEN].decode("utf-8", "ignore")


def _pick(options: Sequence[str], number: int) -> str:
    return options[number % len(options)]


def _fill(template: str, prompt: str) -> str:
    quote = " ".join(prompt.split())
    if len(quote) > _QUOTE_LENGTH:
        quote = quote[:_QUOTE_LENGTH].rstrip() + "…"
    words = _WORD.findall(prompt)
    return template.format(
        quote=quote or "…",
        words=len(words),
        characters=len(prompt),
        longest=max(words, key=len, default="nothing")[:_QUOTE_LENGTH],
    )
