"""How a run ended, from its events: an event of an earlier process of a run that went on is not its end."""

import math
from collections.abc import Sequence
from pathlib import Path

from training.run_folder import Event, Failed, Finished, Notice, Paused, Started, read_events

RESUMED = Notice("the run is resumed")
"""Written when a run goes on, before its process starts."""


def find_final_event(run_dir: Path, heard: float = math.inf) -> Finished | Failed | Paused | None:
    """Return the event with which a run ended or paused; `None` if its process is at work or died.

    Only events up to the byte `heard` are used.
    """
    events = [event for event, end in read_events(run_dir) if end <= heard]
    words = [event for event in events[_find_last_start(events) :] if isinstance(event, Finished | Failed)]
    if words:
        return words[-1]
    return events[-1] if events and isinstance(events[-1], Paused) else None


def drop_earlier_failures(events: Sequence[Event]) -> list[Event]:
    """Return the events without failures after which the run went on: they are no longer news."""
    begun = _find_last_start(events)
    return [event for n, event in enumerate(events) if n >= begun or not isinstance(event, Failed)]


def _find_last_start(events: Sequence[Event]) -> int:
    return max((n for n, event in enumerate(events) if isinstance(event, Started) or event == RESUMED), default=0)
