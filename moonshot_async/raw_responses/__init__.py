"""Answers as they came, beside what they mean: status, headers and bytes.

The body of a `RawResponse` was read, and is decoded when that is asked for; of an `APIResponse` nothing was read yet.
"""

from moonshot_async.raw_responses.open_bodies import APIResponse as APIResponse
from moonshot_async.raw_responses.open_bodies import ResponseContext as ResponseContext
from moonshot_async.raw_responses.read_bodies import RawResponse as RawResponse
