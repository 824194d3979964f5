"""How far the work on a list is, and how long the rest will take.

The time is that of the meter (`workflow.meter.trend`), so that list, meter and report say the same: cases of one kind,
the newest version that drafted enough of them, the mean of their seconds, and a range. Only of a case that was accepted
again, the list knows the newest time, while the meter uses the first one.
"""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from napari_medseg.workflow.case_list.order import ACCEPTED, REJECTED, Features, is_decided
from napari_medseg.workflow.meter.statistics import MIN_CASES
from napari_medseg.workflow.meter.trend import Forecast, forecast_kinds, select_recent_seconds

_MINUTE_S = 60
_HOUR_MIN = 60
_ROUNDED_MIN = 5
_EXACT_H = 10


@dataclass(frozen=True)
class Progress:
    """Counts of a list, and the seconds of work that are expected for the rest, with a range."""

    n_cases: int
    n_accepted: int
    n_rejected: int
    forecast: Forecast

    @property
    def seconds_left(self) -> float | None:
        """The seconds of work on all cases that are left; `None` if the time of one of them is not known."""
        left = self.forecast.seconds
        return None if left is None or self.forecast.n_unknown else left.value

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
        """Accepted and rejected cases, and the time that is left with its range."""
        if not self.n_cases:
            return ""
        rejected = f", {self.n_rejected:,} rejected" * bool(self.n_rejected)
        return f"{self.n_accepted:,} of {self.n_cases:,} accepted{rejected}{self._time_text}{self._range_text}"

    @property
    def _time_text(self) -> str:
        return "" if not self.seconds_left else f", about {format_minutes(self.seconds_left)} left"

    @property
    def _range_text(self) -> str:
        left = self.forecast.seconds
        if not self.seconds_left or left is None:
            return ""
        low, high = format_minutes(left.low), format_minutes(left.high)
        return f" ({low} to {high})" * (low != high)


class ListCounts:
    """What is counted and estimated of the cases of a list, each when it is asked for first."""

    def __init__(self, features: Features) -> None:
        self._features = features.copy()  # the list changes its own in place

    @cached_property
    def expected_seconds(self) -> NDArray[np.float64]:
        """The seconds of work expected for each case, NaN if unknown; shape (n,)."""
        expected = np.full(len(self._features), np.nan)
        for kind, seconds in self._known_seconds.items():
            if len(seconds) >= MIN_CASES:
                expected[self._features["kind"] == kind] = np.mean(seconds)
        return expected

    @cached_property
    def progress(self) -> Progress:
        """Decided cases, and the time for the others."""
        left = Counter(self._features["kind"][~is_decided(self._features)].tolist())
        known = tuple((kind, tuple(seconds)) for kind, seconds in self._known_seconds.items())
        forecast = _forecast(known, tuple(sorted(left.items())))
        return Progress(len(self._features), self._count_state(ACCEPTED), self._count_state(REJECTED), forecast)

    @cached_property
    def _known_seconds(self) -> dict[str, list[float]]:
        """The seconds of timed cases by their kind; labels that came from a mask of elsewhere do not count."""
        features = self._features
        is_timed = (features["seconds"] > 0) & (features["version"] > 0) & ~features["imported"]
        timed = features[is_timed]
        timed = timed[np.argsort(timed["correction"])]
        known = {}
        for kind in np.unique(timed["kind"]).tolist():
            of_kind = timed[timed["kind"] == kind]
            pairs = zip(of_kind["version"].tolist(), of_kind["seconds"].tolist(), strict=True)
            known[kind] = select_recent_seconds(list(pairs))
        return known

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
    def n_without_image(self) -> int:
        """How many cases have an image that is known to be missing or damaged."""
        return int(np.count_nonzero(self._features["no_image"]))

    @property
    def n_left_without_image(self) -> int:
        """How many of these are undecided."""
        return int(np.count_nonzero(self._features["no_image"] & ~is_decided(self._features)))

    @property
    def n_corrected(self) -> int:
        """How many cases have labels that were accepted."""
        return int(np.count_nonzero(self._features["correction"]))

    def _count_state(self, state: int) -> int:
        return int(np.count_nonzero(self._features["state"] == state))


@lru_cache(maxsize=8)
def _forecast(known: tuple[tuple[str, tuple[float, ...]], ...], left: tuple[tuple[str, int], ...]) -> Forecast:
    """Forecast; a case that opens or gets a prediction changes nothing, and the range takes some milliseconds."""
    return forecast_kinds(dict(known), dict(left))


def format_minutes(seconds: float) -> str:
    """Return a duration as people say it: ``25 min``, ``2 h 10 min`` in steps of five minutes, ``93 h``."""
    minutes = max(1, round(seconds / _MINUTE_S))
    if minutes < _HOUR_MIN:
        return f"{minutes} min"
    hours, rest = divmod(_ROUNDED_MIN * round(minutes / _ROUNDED_MIN), _HOUR_MIN)
    return f"{hours:,} h {rest} min" if rest and hours < _EXACT_H else f"{hours:,} h"


def describe_lost(n_left: int) -> str:
    """Return what is said when nothing is left but cases without an image; empty if there are none."""
    if not n_left:
        return ""
    cases = "1 case that is left has" if n_left == 1 else f"{n_left:,} cases that are left have"
    return f"{cases} no image: it is missing or damaged. The filter 'no image' lists them, and each says why."
