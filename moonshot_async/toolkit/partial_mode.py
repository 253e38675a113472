"""Partial Mode: begin the model's answer yourself, go on with one that was cut, and join the two.

    messages = [{"role": "user", "content": "A haiku about rain."}, begun := prefix("Grey roofs")]
    answer = await client.chat.completions.create(model="kimi-k3", messages=messages)
    whole = join(begun, answer)                     # "Grey roofs" and what follows

An answer that ended with `length`, or a stream that broke off, goes on in the same way:

    messages = [*messages, continue_from(cut)]      # a ChatCompletion or a StreamInterruptedError
    whole = join(cut, await client.chat.completions.create(model="kimi-k3", messages=messages))

The answer does not repeat the prefix. The prefix must be the last message, and goes with no `response_format`.

See: https://platform.kimi.ai/docs/guide/use-partial-mode-feature-of-kimi-api
"""

from moonshot_async.partial_mode import Cut as Cut
from moonshot_async.partial_mode import continue_from as continue_from
from moonshot_async.partial_mode import join as join
from moonshot_async.partial_mode import prefix as prefix

__all__ = ["Cut", "continue_from", "join", "prefix"]
