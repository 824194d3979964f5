"""Work per model version, what later versions saved, and what the rest of the list will take. All functions are pure.

Seconds are compared within a kind of image only. A figure needs `statistics.MIN_CASES` cases; fewer give none.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from napari_medseg.core.records import Case
from napari_medseg.workflow.meter.rows import MeterRow, describe_kind
from napari_medseg.workflow.meter.statistics import (
    MIN_CASES,
    Estimate,
    estimate_median,
    estimate_median_change,
    estimate_sum,
)

N_RECENT = 30
"""Cases of a kind that a forecast is made from if the newest version drafted too few."""


@dataclass(frozen=True)
class VersionWork:
    """Work on the cases of a kind that one version drafted; medians are `None` with fewer than `MIN_CASES` cases.

    `n_cases` counts all of them; the time is known of `n_timed`. `readers` are the labels of the people.
    """

    kind: str
    model: str
    n_cases: int
    n_timed: int
    seconds: Estimate | None
    edited_share: Estimate | None
    dice: Estimate | None
    readers: tuple[str, ...]


@dataclass(frozen=True)
class Saving:
    """What a version saved against the first one of its kind with `MIN_CASES` timed cases.

    `seconds_per_case` is the median of the first version minus that of this one; it may be negative. `minutes` is that
    times the cases corrected with this version. `other_readers` tells that not the same people worked with both, so
    that the difference may be theirs.
    """

    kind: str
    first: str
    model: str
    n_cases: int
    seconds_per_case: Estimate
    other_readers: bool

    @property
    def minutes(self) -> Estimate:
        """Minutes saved on all cases of this version."""
        by, each = self.n_cases / 60.0, self.seconds_per_case
        return Estimate(each.value * by, each.low * by, each.high * by)


@dataclass(frozen=True)
class Forecast:
    """Work left on the undecided cases; `seconds` is `None` if no kind of them has a figure.

    `n_left` counts all of them; the `n_unknown` of kinds with fewer than `MIN_CASES` timed cases are not in `seconds`.
    """

    n_left: int
    n_unknown: int
    seconds: Estimate | None


def list_version_work(rows: Sequence[MeterRow]) -> list[VersionWork]:
    """Return the work of each kind and version, versions in the order of their first use."""
    return [_summarise(kind, model, group) for (kind, model), group in _group(rows).items()]


def list_savings(rows: Sequence[MeterRow]) -> list[Saving]:
    """Return what each later version saved; kinds and versions with fewer than `MIN_CASES` timed cases have none."""
    timed = {key: [row for row in group if row.is_timed] for key, group in _group(rows).items()}
    first_of: dict[str, tuple[str, list[MeterRow]]] = {}
    savings = []
    for (kind, model), group in timed.items():
        if len(group) < MIN_CASES:
            continue
        if kind not in first_of:
            first_of[kind] = model, group
            continue
        first, before = first_of[kind]
        slower = estimate_median_change(_list_seconds(group), _list_seconds(before))
        if slower is not None:
            others = _list_readers(group) != _list_readers(before)
            savings.append(Saving(kind, first, model, len(group), slower, other_readers=others))
    return savings


def forecast_rest(rows: Sequence[MeterRow], waiting: Iterable[Case]) -> Forecast:
    """Predict the seconds of work on undecided cases, with a range.

    For each kind it is made from the cases of the newest version that drafted `MIN_CASES`, else from the last
    `N_RECENT` of any version.
    """
    counts = Counter(describe_kind(case) for case in waiting)
    parts, n_unknown = [], 0
    for kind, n_waiting in counts.items():
        estimate = estimate_sum(_list_recent_seconds(rows, kind), n_waiting)
        if estimate is None:
            n_unknown += n_waiting
        else:
            parts.append(estimate)
    total = _add_estimates(parts) if parts else None
    return Forecast(counts.total(), n_unknown, total)


def _group(rows: Sequence[MeterRow]) -> dict[tuple[str, str], list[MeterRow]]:
    groups: dict[tuple[str, str], list[MeterRow]] = {}
    for row in rows:
        if row.counts:
            groups.setdefault((row.kind, row.model), []).append(row)
    return groups


def _summarise(kind: str, model: str, group: Sequence[MeterRow]) -> VersionWork:
    timed = [row for row in group if row.is_timed]
    shares = [row.edited_share for row in group if row.edited_share is not None]
    scores = [row.dice for row in group if row.dice is not None]
    return VersionWork(
        kind,
        model,
        len(group),
        len(timed),
        estimate_median(_list_seconds(timed)),
        estimate_median(shares),
        estimate_median(scores),
        _list_readers(group),
    )


def _list_seconds(rows: Iterable[MeterRow]) -> list[float]:
    return [row.correction.seconds for row in rows]


def _list_readers(rows: Iterable[MeterRow]) -> tuple[str, ...]:
    return tuple(sorted({row.correction.who for row in rows}))


def _list_recent_seconds(rows: Sequence[MeterRow], kind: str) -> list[float]:
    timed = [row for row in rows if row.is_timed and row.kind == kind]
    for model in reversed(list(dict.fromkeys(row.model for row in timed))):  # second readings come late, of old drafts
        of_version = [row for row in timed if row.model == model]
        if len(of_version) >= MIN_CASES:
            return _list_seconds(of_version)
    return _list_seconds(timed[-N_RECENT:])


def _add_estimates(parts: Sequence[Estimate]) -> Estimate:
    """Add independent sums: deviations of several kinds add as squares."""
    value = sum(part.value for part in parts)
    below = sum((part.value - part.low) ** 2 for part in parts) ** 0.5
    above = sum((part.high - part.value) ** 2 for part in parts) ** 0.5
    return Estimate(value, max(0.0, value - below), value + above)
