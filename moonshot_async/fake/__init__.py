"""The embedded Moonshot service: the API as documented, in memory or over HTTP, scriptable, with faults.

Example:
    fake = FakeMoonshot()
    fake.reply("Hello!")                       # the next answer
    fake.fail(429, retry_after=1)              # the one after it
    response = await fake(request)             # in memory: Request -> Response
    async with fake.serve() as base_url: ...   # over HTTP
    fake.advance(3600)                         # an hour later, by its clock
"""

from moonshot_async.fake.app import FakeMoonshot
from moonshot_async.fake.jobs import BatchTimes

__all__ = ["BatchTimes", "FakeMoonshot"]
