"""The times that a text in the manner of cron names, in the local time of this machine.

What belongs here: from a text and a time to the next time. What must not: what is done then, the clock.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, tzinfo

from cronsim import CronSim, CronSimError

from pilotfish.errors import UserError

__all__ = ["next_time"]


def next_time(text: str, after: float) -> float:
    """The first time after one that cron's text names in the local time of this machine; both in seconds since 1970.

    As with Debian's cron, a fixed hour that a change of the clock leaves out comes when the clock has jumped, one that
    it repeats comes the first time only; what comes every few minutes or hours does so all the while.
    Raises UserError where the text is wrong, or names no time.
    """
    # In an hour that the clock repeats, the library names times of its first half.
    times = (moment.timestamp() for moment in _moments(text, after))
    found = next((seconds for seconds in times if seconds > after), None)
    if found is None:
        raise UserError(f"schedule: {text!r} names no time")
    return found


def _moments(text: str, after: float) -> Iterable[datetime]:
    problem = "wrong number of fields"
    if len(text.split()) == 5:  # six would begin with seconds
        try:
            return CronSim(text, datetime.fromtimestamp(after, _LOCAL))
        except (CronSimError, ValueError) as error:
            problem = str(error)[:1].lower() + str(error)[1:60]
    raise UserError(
        "schedule: expected cron's five fields (minute, hour, day, month, weekday), such as '*/5 * * * *', "
        f"got {text!r:.60}: {problem}"
    )


class _Local(tzinfo):
    """The local time of this machine, as its C library tells it: also where no name of a zone is known."""

    def utcoffset(self, moment: datetime | None, /) -> timedelta | None:
        """What it is ahead of UTC then."""
        return None if moment is None else moment.replace(tzinfo=None).astimezone().utcoffset()

    def dst(self, moment: datetime | None, /) -> timedelta | None:
        """Nobody asks."""
        del moment
        return None

    def tzname(self, moment: datetime | None, /) -> str | None:
        """Likewise."""
        del moment
        return None

    def fromutc(self, moment: datetime, /) -> datetime:
        """The local time of a moment that is given in UTC; the second of two equal ones has a `fold`."""
        local = datetime.fromtimestamp(moment.replace(tzinfo=UTC).timestamp())  # noqa: DTZ006 - the local time is meant
        return local.replace(tzinfo=self)


_LOCAL = _Local()
