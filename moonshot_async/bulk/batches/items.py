"""Items that keep to what the Batch API takes, looked at before they are in the journal.

See: https://platform.kimi.ai/docs/guide/use-batch-api
"""

from typing import Any

import msgspec

from moonshot_async.bulk.items import AnyRequest, Item
from moonshot_async.bulk.sources import Make
from moonshot_async.errors import ConfigurationError
from moonshot_async.resources.batch_lines import LineMaker
from moonshot_async.types.batches import CHAT_ENDPOINT


def checked(make: Make) -> Make:
    """Make items that also keep to what a batch takes; raises what `make` raises, for others, too."""
    makers: dict[str, LineMaker] = {}

    def make_checked(request: AnyRequest) -> Item | None:
        item = make(request)
        if item is not None:
            body = msgspec.json.decode(item.body)
            maker = makers.setdefault(body["model"], LineMaker(model=None, endpoint=CHAT_ENDPOINT, check=True))
            maker.position = item.position - 1
            _check(maker, {"custom_id": item.name, "body": body})
        return item

    return make_checked


def _check(maker: LineMaker, line: dict[str, Any]) -> None:
    try:
        maker.line(line)
        return
    except ConfigurationError as error:
        # What else could be done about it cannot be done here.
        problem = str(error).partition("; if it does now")[0]
    finally:
        line.clear()
    raise ConfigurationError(problem)
