"""What a report of bulk work says. Times are Unix seconds, durations seconds, money `Decimal` in `Report.currency`."""

import os
from decimal import Decimal

import msgspec


class Spread(msgspec.Struct, frozen=True):
    """Durations, in seconds; percentiles to ±1 %.

    Attributes:
        count: how many there are.
        mean, least, most: of all.
        p50, p90, p95, p99: so many percent are at most as long.
    """

    count: int
    mean: float
    least: float
    p50: float
    p90: float
    p95: float
    p99: float
    most: float


class Rate(msgspec.Struct, frozen=True):
    """Something a minute.

    Attributes:
        mean: over the time that the run was at work. What a minute allows may come at once, so that a short run may
            have more than the limit.
        peak: the highest that a `Point` of the timeline has: with a limit, the fullest minute.
        limit: of the account; None where nobody told.
        share: `mean` by `limit`, where that held: 1.0 is all that is allowed. A run of less than a minute is set
            against a whole one; more than 1.0 means that some minute had more than the limit.
    """

    mean: float
    peak: float
    limit: float | None
    share: float | None


class ErrorCount(msgspec.Struct, frozen=True):
    """One kind of error.

    Attributes:
        name: its class, and the status code where there is one.
        items: that ended with it.
        sendings: that failed with it, also those after which all went well.
        ids: of a few of the items.
    """

    name: str
    items: int
    sendings: int
    ids: tuple[str, ...]


class ModelUse(msgspec.Struct, frozen=True):
    """What one model was used for. What it costs is in the currency of the report, as far as it is known."""

    model: str
    answers: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    cost: Decimal


class StartPart(msgspec.Struct, frozen=True):
    """One start of the run.

    Attributes:
        began, ended: of its work; `ended` is the last that is known of one that was killed, or goes on.
        via: "live" or "batch".
        done, failed: items that have their outcome from it.
        reason: why it ended early, in a few words; None where it did not.
        closed: whether it came to its end in good order: neither killed nor still at work.
    """

    number: int
    began: float
    ended: float
    via: str
    done: int
    failed: int
    reason: str | None
    closed: bool


class Spent(msgspec.Struct, frozen=True):
    """What the time of all calls together went into, in seconds; many calls at once spend many seconds a second.

    Attributes:
        answering: from the last sending to the answer.
        failing: sendings that failed.
        limits: waiting for the limits of the account.
        retries: waiting between two sendings.
        lost: the share that was not spent on answers, from 0 to 1.
    """

    answering: float
    failing: float
    limits: float
    retries: float
    lost: float


class Point(msgspec.Struct, frozen=True):
    """A stretch of the run. What an earlier sending did is placed by the durations that are noted of it.

    Attributes:
        at: where it begins, in seconds of work; pauses between two starts do not count.
        seconds: how long it is.
        requests: that were sent, those that failed too.
        done, failed: items that were over then.
        tokens: of prompts and answers that were over then.
        cost: of these.
        requests_a_minute, tokens_a_minute: in the minute that ends with it, as limits count; where it is longer than
            that, or no limit is known and the whole run is shorter than two, at the pace of the stretch.
        charged_a_minute: the tokens that the limit counts, likewise; None where no limit of tokens is known.
        request_limit, token_limit: what the account was allowed a minute then; None where nobody told.
        p50, p95, p99: from the sending to the answer, of answers that came then; None where none did.
        answering, limits, retries: how many calls on the mean were sent, waited for limits, and between sendings.
        errors: how many sendings failed, by kind.
    """

    at: float
    seconds: float
    requests: int
    done: int
    failed: int
    tokens: int
    cost: Decimal
    requests_a_minute: float
    tokens_a_minute: float
    charged_a_minute: float | None
    request_limit: float | None
    token_limit: float | None
    p50: float | None
    p95: float | None
    p99: float | None
    answering: float
    limits: float
    retries: float
    errors: dict[str, int]


class Report(msgspec.Struct, frozen=True):
    """What became of a bulk run. It holds ids of requests, and no word of what was asked or answered.

    Attributes:
        journal: the name of the file.
        currency: "usd" or "cny".
        began, ended: of all its work.
        seconds: that it was at work, without the pauses between two starts.
        minute: how many seconds a minute has; 60 but for a service that is tried with a faster clock.
        items, done, failed, open: how many requests there are, and what became of them.
        sendings: that are known of, those that failed too.
        prompt_tokens, completion_tokens: that were used, also for what was asked again.
        cost: of all answers, as far as prices are known; `unpriced` answers are not in it.
        requests, tokens: a minute; tokens are those that were used.
        charged: tokens a minute that the limit counts: of the prompt, and as many as the answer may have, when it is
            sent. None where no limit of tokens is known.
        answer: from the last sending to the end of the answer.
        first_byte: from the last sending to the head of the answer. A model that answers in one piece sends it when
            it is done: the first token is not known then.
        whole: from the beginning of the work on an item to its end, with all waits.
        spent: what the time went into.
        errors: by kind; first those with which most requests ended, then those that were sent again.
        models: that answered.
        starts: of the run; the latest thousand.
        timeline: what happened when: some hundred stretches, whatever the length.
    """

    journal: str
    currency: str
    began: float
    ended: float
    seconds: float
    minute: float
    items: int
    done: int
    failed: int
    open: int
    sendings: int
    prompt_tokens: int
    completion_tokens: int
    cost: Decimal
    unpriced: int
    requests: Rate
    tokens: Rate
    charged: Rate | None
    answer: Spread | None
    first_byte: Spread | None
    whole: Spread | None
    spent: Spent
    errors: tuple[ErrorCount, ...]
    models: tuple[ModelUse, ...]
    starts: tuple[StartPart, ...]
    timeline: tuple[Point, ...]

    def text(self) -> str:
        """All of it that a terminal can show, in lines of at most 100 characters where names are short."""
        # Imported late, as all of these: nobody wants all three.
        from moonshot_async.bulk.report.words import text_of

        return text_of(self)

    def json(self) -> str:
        """All of it as one JSON object; money is text, so that no part of a cent is lost."""
        return msgspec.json.encode(self).decode()

    def html(self) -> str:
        """A page with charts, whole in itself: it loads nothing, follows dark and light, and can be sent on.

        Raises:
            ConfigurationError: the extra `report` is not installed.
        """
        from moonshot_async.bulk.report.page import page_of

        return page_of(self)

    def write_html(self, path: "str | os.PathLike[str]") -> None:
        """Write the page to a file, in place of one that is there.

        Raises:
            ConfigurationError: the extra `report` is not installed.
            OSError: the file cannot be written.
        """
        from pathlib import Path

        page = self.html()
        Path(path).write_text(page, encoding="utf-8")
