"""What an earlier mirror wrote into a run folder: the next one does not write it again."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

from training.run_folder import LOG_FILE, Event, Started, read_events


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
