"""The figures of the meter as lines of text, for the window and the command line."""

from collections.abc import Sequence

from napari_medseg.core.readings.agreement import MILLIMETRES
from napari_medseg.workflow.meter.figures import MeterFigures
from napari_medseg.workflow.meter.rows import MeterRow
from napari_medseg.workflow.meter.statistics import MIN_CASES, Estimate
from napari_medseg.workflow.meter.trend import Forecast, Saving, VersionWork
from napari_medseg.workflow.second_reader.readings import LabelSummary, ReadTwice

METHOD = (
    f"Median seconds of work per case (without idle time), cases of one kind only; ranges hold 95 % (bootstrap over "
    f"cases). Fewer than {MIN_CASES} cases give no figure."
)


def format_minutes(seconds: float) -> str:
    """Return seconds as ``4:12 min``; negative ones keep their sign."""
    minutes, rest = divmod(abs(round(seconds)), 60)
    return f"{'-' * (round(seconds) < 0)}{minutes}:{rest:02d} min"


def format_duration(seconds: float) -> str:
    """Return a longer time as ``2 h 10 min`` or ``45 min``."""
    minutes = max(1, round(seconds / 60)) if seconds > 0 else 0
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest:02d} min" if hours else f"{rest} min"


def describe_work(work: VersionWork) -> str:
    """Return the work with one version as a line."""
    parts = [work.model, count(work.n_cases, "case")]
    if work.seconds is not None:
        low, high = format_minutes(work.seconds.low), format_minutes(work.seconds.high)
        parts.append(f"{format_minutes(work.seconds.value)} each ({low} to {high})")
    else:
        parts.append(f"time of {work.n_timed}, {MIN_CASES} are needed")
    if work.edited_share is not None:
        parts.append(f"edited {100 * work.edited_share.value:.1f} %")
    if work.dice is not None:
        parts.append(f"Dice of the drafts {work.dice.value:.3f}")
    return ", ".join(parts)


def describe_saving(saving: Saving) -> str:
    """Return what a version saved as a line."""
    minutes = saving.minutes
    line = (
        f"{saving.model} saved {format_range(minutes)} min on {count(saving.n_cases, 'case')} against {saving.first} "
        f"({saving.kind}): {format_range(saving.seconds_per_case)} s a case"
    )
    return line + ("; not the same people worked with both" if saving.other_readers else "")


def explain_no_saving(work: Sequence[VersionWork]) -> str:
    """Return why there is no figure of minutes saved: how many timed cases each version has."""
    line = f"No figure of minutes saved: it needs two versions with {MIN_CASES} timed cases each, of one kind of image."
    if not work:
        return f"{line} No case was corrected from the draft of a model."
    kinds = []
    for kind in dict.fromkeys(one.kind for one in work):
        known = ", ".join(f"{one.model} {one.n_timed:,}" for one in work if one.kind == kind)
        kinds.append(f"{kind}: {known}")
    return f"{line} Timed cases so far: {'; '.join(kinds)}."


def describe_forecast(forecast: Forecast) -> str:
    """Return what is left as a line."""
    if not forecast.n_left:
        return "Nothing is left: all cases of the list are decided."
    line = f"{count(forecast.n_left, 'case')} left"
    if forecast.seconds is None:
        return f"{line}; no forecast before {MIN_CASES} timed cases of their kind"
    low, high = format_duration(forecast.seconds.low), format_duration(forecast.seconds.high)
    line += f": about {format_duration(forecast.seconds.value)} of work ({low} to {high})"
    if forecast.n_unknown:
        line += f", without {forecast.n_unknown} of a kind with fewer than {MIN_CASES} timed cases"
    return line


def describe_agreement(row: LabelSummary) -> str:
    """Return the agreement of the readers on one label as a line."""
    line = f"{row.label}: Dice {row.dice:.3f} (lowest {row.lowest_dice:.3f}) in {count(row.n_cases, 'case')}"
    return line if row.hd95 is None else f"{line}, HD95 {format_distance(row.hd95, row.unit)} (median)"


def describe_read_twice(read: ReadTwice) -> str:
    """Return whose labels of a case count as a line."""
    if read.second is None:
        return f"{read.case.name}: {read.first.who} accepted it, {read.second_who} rejected it"
    used = "the second" if read.uses_second else "the first"
    return f"{read.case.name}: {read.first.who} and {read.second_who}; {used} reading counts"


def format_distance(distance: float, unit: str) -> str:
    """Return a distance with its unit, such as ``1.4 mm``."""
    return f"{distance:.1f} {unit}" if unit == MILLIMETRES else f"{distance:.0f} {unit}"


def format_range(estimate: Estimate) -> str:
    """Return a figure with its interval, such as ``60 (54 to 66)``."""
    return f"{estimate.value:,.0f} ({estimate.low:,.0f} to {estimate.high:,.0f})"


def list_work_lines(figures: MeterFigures) -> list[str]:
    """Return the work with each version, the savings, what is left, and whether more corrections still help."""
    lines = []
    for kind in dict.fromkeys(one.kind for one in figures.work):
        lines += [f"{kind}:", *(f"  {describe_work(one)}" for one in figures.work if one.kind == kind)]
    lines += [describe_saving(one) for one in figures.savings]
    return [*lines, describe_forecast(figures.forecast), *(one.text for one in figures.saturation)]


def list_reader_lines(figures: MeterFigures) -> list[str]:
    """Return how far two readers agree on each label."""
    if not figures.records.read_twice:
        return ["No case has a second reading."]
    n_cases = count(len(figures.records.read_twice), "case")
    return [f"{n_cases} read by two persons", *map(describe_agreement, figures.agreement)]


def count(number: int, noun: str) -> str:
    """Return a number with its noun, such as ``1 case`` or ``2 cases``."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def count_rows(rows: Sequence[MeterRow]) -> str:
    """Return how many corrections there are, and how many count."""
    n_counting = sum(row.counts for row in rows)
    text = count(len(rows), "correction")
    if n_counting < len(rows):
        text += f", of which {n_counting:,} count (not those without a draft, of masks from elsewhere, or again)"
    return text
