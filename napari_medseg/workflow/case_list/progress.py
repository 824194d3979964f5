"""How far the work on a list is, and how long the rest will take, from the seconds that people spent on its cases."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from napari_medseg.workflow.case_list.order import ACCEPTED, REJECTED, Features, is_decided

MIN_CASES = 5
"""With fewer accepted cases of a kind there is no estimate."""
N_RECENT = 50
"""The newest corrections count: people and models become faster."""
_MINUTE_S = 60
_HOUR_MIN = 60
_ROUNDED_MIN = 5
_EXACT_H = 10


@dataclass(frozen=True)
class Progress:
    """Counts of a list, and the seconds of work that are expected for the rest; `None` if nothing can be said."""

    n_cases: int
    n_accepted: int
    n_rejected: int
    seconds_left: float | None

    @property
    def short_text(self) -> str:
        """Accepted cases, and the time that is left; it fits into the header of a section."""
        left = self._time_text.replace("about ", "")
        return f"{self.n_accepted:,} of {self.n_cases:,} accepted{left}" if self.n_cases else ""

    @property
    def shortest_text(self) -> str:
        """As the short text; it leaves room for a badge beside it."""
        text = self.short_text.replace(" accepted,", ",")
        return text.replace(" min left", " left") if " h " in text else text

    @property
    def text(self) -> str:
        """Accepted and rejected cases, and the time that is left."""
        rejected = f", {self.n_rejected:,} rejected" * bool(self.n_rejected)
        return f"{self.n_accepted:,} of {self.n_cases:,} accepted{rejected}{self._time_text}" if self.n_cases else ""

    @property
    def _time_text(self) -> str:
        return "" if not self.seconds_left else f", about {format_minutes(self.seconds_left)} left"


class ListCounts:
    """What is counted and estimated of the cases of a list, each when it is asked for first."""

    def __init__(self, features: Features) -> None:
        self._features = features.copy()  # the list changes its own in place

    @cached_property
    def expected_seconds(self) -> NDArray[np.float64]:
        """The seconds of work expected for each case, see `estimate_seconds`."""
        return estimate_seconds(self._features)

    @cached_property
    def progress(self) -> Progress:
        """Decided cases, and the time for the others."""
        left = self.expected_seconds[~is_decided(self._features)]
        known = None if np.isnan(left).any() else float(left.sum())
        return Progress(len(self._features), self._count_state(ACCEPTED), self._count_state(REJECTED), known)

    @cached_property
    def case_seconds(self) -> float | None:
        """The seconds that an undecided case takes on average; `None` if nothing can be said."""
        left = self.expected_seconds[~is_decided(self._features)]
        known = left[~np.isnan(left)]
        return float(known.mean()) if known.size else None

    @property
    def n_undecided(self) -> int:
        """How many cases are neither accepted nor rejected."""
        return int(np.count_nonzero(~is_decided(self._features)))

    @property
    def n_corrected(self) -> int:
        """How many cases have labels that were accepted."""
        return int(np.count_nonzero(self._features["correction"]))

    def _count_state(self, state: int) -> int:
        return int(np.count_nonzero(self._features["state"] == state))


def estimate_seconds(features: Features) -> NDArray[np.float64]:
    """Return the seconds of work expected for each case, NaN if unknown; shape (n,).

    It is the median of the newest accepted cases of its kind, single planes or series; a series is estimated by its
    number of planes. Labels that came from a mask of elsewhere do not count.
    """
    expected = np.full(len(features), np.nan)
    is_series = features["planes"] > 1
    for kind in (is_series, ~is_series):
        done = features[kind & (features["correction"] > 0) & (features["seconds"] > 0) & ~features["imported"]]
        if len(done) >= MIN_CASES:
            recent = done[np.argsort(done["correction"])[-N_RECENT:]]
            expected[kind] = features["planes"][kind] * np.median(recent["seconds"] / recent["planes"])
    return expected


def format_minutes(seconds: float) -> str:
    """Return a duration as people say it: ``25 min``, ``2 h 10 min`` in steps of five minutes, ``93 h``."""
    minutes = max(1, round(seconds / _MINUTE_S))
    if minutes < _HOUR_MIN:
        return f"{minutes} min"
    hours, rest = divmod(_ROUNDED_MIN * round(minutes / _ROUNDED_MIN), _HOUR_MIN)
    return f"{hours:,} h {rest} min" if rest and hours < _EXACT_H else f"{hours:,} h"
