"""Work per model version, what later versions saved, and what the rest of the list will take. All functions are pure.

Seconds are compared within a kind of image only. A figure needs `statistics.MIN_CASES` cases; fewer give none.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from napari_medseg.core.project.case_history import WaitingCase
from napari_medseg.core.records import Case
from napari_medseg.workflow.meter.kinds import describe_kind
from napari_medseg.workflow.meter.rows import MeterRow
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


def forecast_rest(rows: Sequence[MeterRow], waiting: Iterable[Case | WaitingCase]) -> Forecast:
    """Predict the seconds of work on undecided cases, with a range; see `select_recent_seconds`."""
    timed: dict[str, list[tuple[str, float]]] = {}
    for row in rows:
        if row.is_timed:
            timed.setdefault(row.kind, []).append((row.model, row.correction.seconds))
    known = {kind: select_recent_seconds(pairs) for kind, pairs in timed.items()}
    return forecast_kinds(known, Counter(describe_kind(case) for case in waiting))


def select_recent_seconds(timed: Sequence[tuple[Hashable, float]]) -> list[float]:
    """Return the seconds of cases from which the time of others of their kind is forecast.

    They are those of the newest version that drafted `MIN_CASES`, else the last `N_RECENT` of any version.

    Parameters
    ----------
    timed
        Version and seconds of each timed case of a kind, in the order of acceptance.
    """
    for version in reversed(list(dict.fromkeys(version for version, _ in timed))):  # second readings come late
        of_version = [seconds for each, seconds in timed if each == version]
        if len(of_version) >= MIN_CASES:
            return of_version
    return [seconds for _, seconds in timed[-N_RECENT:]]


def forecast_kinds(known: Mapping[str, Sequence[float]], n_waiting: Mapping[str, int]) -> Forecast:
    """Predict the seconds for some waiting cases of each kind, from known seconds of cases of the kind."""
    parts, n_unknown = [], 0
    for kind, number in n_waiting.items():
        estimate = estimate_sum(known.get(kind, ()), number)
        if estimate is None:
            n_unknown += number
        else:
            parts.append(estimate)
    return Forecast(sum(n_waiting.values()), n_unknown, _add_estimates(parts) if parts else None)


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


def _add_estimates(parts: Sequence[Estimate]) -> Estimate:
    """Add independent sums: deviations of several kinds add as squares."""
    value = sum(part.value for part in parts)
    below = sum((part.value - part.low) ** 2 for part in parts) ** 0.5
    above = sum((part.high - part.value) ** 2 for part in parts) ** 0.5
    return Estimate(value, max(0.0, value - below), value + above)
