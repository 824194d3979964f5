"""Cases that two people read: how far their labels agree, by label and by case."""

from collections.abc import Sequence

from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.workflow.meter.texts import format_distance
from napari_medseg.workflow.report.people import Names
from napari_medseg.workflow.second_reader.readings import LabelSummary, ReadTwice
from training.reports.html import Cell, Table


def build_agreement_table(summaries: Sequence[LabelSummary]) -> Table | None:
    """Return median and worst Dice and HD95 of each label."""
    rows: list[list[Cell]] = [
        [
            one.label,
            one.n_cases,
            f"{one.median_dice:.3f}",
            f"{one.lowest_dice:.3f}",
            "" if one.hd95 is None else format_distance(one.hd95, one.unit),
            "" if one.highest_hd95 is None else format_distance(one.highest_hd95, one.unit),
        ]
        for one in summaries
    ]
    return Table(["label", "cases", "Dice, median", "worst", "HD95, median", "worst"], rows) if rows else None


def build_read_twice_table(task: Task, read: Sequence[ReadTwice], names: Names) -> Table | None:
    """Return a row for each label of each case, the lowest Dice first, then what cannot be compared."""
    labels = {label.value: label.name for label in task.labels}
    scored: list[tuple[float, list[Cell]]] = []
    for one in read:
        counts = "second reading" if one.uses_second else "first reading" if one.used else "none: rejected since"
        begin = [names.name_case(one.case), names.name_reader(one.first.who), names.name_reader(one.second_who)]
        scores = [] if one.agreement is None else one.agreement.scores
        for value, dice, hd95 in scores:
            if dice is not None and one.agreement is not None:
                distance = "only one has it" if hd95 is None else format_distance(hd95, one.agreement.unit)
                label = labels.get(value, f"label {value}")
                scored.append((dice, [*begin, label, f"{dice:.3f}", distance, counts]))
        if all(dice is None for _, dice, _ in scores):
            scored.append((2.0, [*begin, _explain_no_score(one), "", "", counts]))
    rows = [cells for _, cells in sorted(scored, key=lambda pair: pair[0])]
    return Table(["case", "first reader", "second reader", "label", "Dice", "HD95", "counts"], rows) if rows else None


def _explain_no_score(one: ReadTwice) -> str:
    if one.second is None:
        return "rejected by the second reader"
    return "cannot be compared" if one.agreement is None else "both found nothing"
