"""What an earlier mirror wrote into a run folder: the next one does not write it again."""

import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path

from training.run_folder import LOG_FILE, Event, Started, parse_event, read_events

logger = logging.getLogger(__name__)


def get_key(event: Event) -> str:
    """Return what is equal in an event here and at the server: all but the time of a clock."""
    return repr(replace(event, time=0.0) if isinstance(event, Started) else event)


def count_events(folder: Path) -> Counter[str]:
    """Count the events of a run folder by their keys."""
    return Counter(get_key(event) for event, _ in read_events(folder))


def count_lines(folder: Path) -> Counter[bytes]:
    """Count the lines of the log of a run folder."""
    path = folder / LOG_FILE
    return Counter(path.read_bytes().splitlines(keepends=True) if path.is_file() else [])


def read_line(line: bytes) -> Event | None:
    """Return the event of a line from a server; `None` if it is none, which is logged."""
    try:
        return parse_event(line)
    except (ValueError, LookupError, TypeError, AttributeError):
        logger.warning("the server sent a line that is no event of a run; it is skipped")
        return None


def append_new_lines(folder: Path, known: Counter[bytes], log: bytes) -> None:
    """Append the lines of a log that an earlier mirror has not written; those are taken from `known`."""
    new = []
    for line in log.splitlines(keepends=True):
        if known[line] > 0:
            known[line] -= 1
        else:
            new.append(line)
    if new:
        with (folder / LOG_FILE).open("ab") as stream:
            stream.writelines(new)
