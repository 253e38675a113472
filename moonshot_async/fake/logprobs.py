"""Log probabilities of the tokens of an answer: made up, but the same every time, and in order of likelihood."""

import math
from collections.abc import Sequence
from typing import Any, Final

from moonshot_async.fake import brain

_OTHERS: Final = brain.tokens(" the a an and to of in is it that for on with as was be by at from or one")


def entries(texts: Sequence[str], top: int) -> list[list[dict[str, Any]]]:
    """Describe each token of some texts that follow each other, text by text.

    Args:
        texts: the pieces of an answer.
        top: how many tokens to name at each place, the one that was taken included.
    """
    place = 0
    described = []
    for text in texts:
        tokens = brain.tokens(text)
        described.append([_entry(token, place + step, top) for step, token in enumerate(tokens)])
        place += len(tokens)
    return described


def _entry(token: str, place: int, top: int) -> dict[str, Any]:
    seed = brain.digest(token, str(place))
    # The token that was taken has more than half of the probability, and each other one half of what is left.
    taken = 0.5 + seed[0] / 512
    first = seed[1] % len(_OTHERS)
    others = [one for one in (*_OTHERS[first:], *_OTHERS[:first]) if one != token]
    ranked = [(token, taken), *((one, (1 - taken) / 2 ** (rank + 1)) for rank, one in enumerate(others))]
    return {
        **_described(token, taken),
        "top_logprobs": [_described(one, probability) for one, probability in ranked[:top]],
    }


def _described(token: str, probability: float) -> dict[str, Any]:
    return {
        "token": token,
        "logprob": round(math.log(probability), 6),
        "bytes": list(token.encode("utf-8", "surrogatepass")),
    }
