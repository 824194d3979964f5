"""What is done with many cases at once: each case for itself, so that one that is refused does not stop the others."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.grouping.keyed_groups import get_group_label
from napari_medseg.core.records import Case
from napari_medseg.workflow import review
from napari_medseg.workflow.case_notes import notes
from napari_medseg.workflow.cases import CaseRow, get_case_row
from napari_medseg.workflow.hold_out.held_out_groups import set_held_out
from napari_medseg.workflow.tasks import assignment
from napari_medseg.workflow.workspace import Workspace

CASES_PER_STEP = 20
MAX_REASONS = 3
IS_OPEN = "{} is open: use the buttons of the dock"

Change = Callable[[Case], None]


@dataclass
class Outcome:
    """The cases that were changed, and for each other one the reason, in one sentence that names it."""

    done: list[Case] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def describe(self, what: str) -> str:
        """Return what was done as text, such as ``3 cases rejected. 1 refused: ...``; `what` is a past participle."""
        parts = [f"{count_cases(self.done)} {what}."] if self.done or not self.reasons else []
        if self.reasons:
            more = len(self.reasons) - MAX_REASONS
            listed = "; ".join(reason.rstrip(".") for reason in self.reasons[:MAX_REASONS])
            rest = f"; and {more:,} more" * (more > 0)
            parts.append(f"{len(self.reasons):,} not: {listed}{rest}.")
        return " ".join(parts)


def count_cases(cases: Sequence[Case]) -> str:
    """Return the name of a single case, otherwise how many there are."""
    return cases[0].name if len(cases) == 1 else f"{len(cases):,} cases"


def change_cases(ws: Workspace, cases: Sequence[Case], change: Change, outcome: Outcome) -> Iterator[list[Case]]:
    """Change cases in steps, each in one transaction; yield the changed cases of each step, so that a window can draw.

    `change` raises `MedSegError` to refuse a case; what it wrote for that case is taken back.
    """
    for begin in range(0, len(cases), CASES_PER_STEP):
        changed: list[Case] = []
        with ws.project.transaction():
            for case in cases[begin : begin + CASES_PER_STEP]:
                try:
                    with ws.project.transaction():
                        change(case)
                except MedSegError as error:
                    outcome.reasons.append(str(error))
                else:
                    changed.append(case)
        outcome.done += changed
        yield changed


def make_rejection(ws: Workspace, get_open_id: Callable[[], int | None]) -> Change:
    """Return what rejects a case, also an accepted one; not a draft, and not the case that is open by then."""

    def reject(case: Case) -> None:
        if case.id == get_open_id():
            raise MedSegError(IS_OPEN.format(case.name))
        state = get_case_row(ws, case).state
        if state == "rejected":
            raise MedSegError(f"{case.name} is rejected already")
        if state == "draft":  # a rejection closes the review, and no undo brings hours of strokes back
            raise MedSegError(f"{case.name} has a draft: open it and press R, or accept it")
        review.reject_unopened(ws, case)

    return reject


def make_removal(ws: Workspace, get_open_id: Callable[[], int | None]) -> Change:
    """Return what removes a case from the list; one with accepted labels stays, and the one that is open by then."""

    def remove(case: Case) -> None:
        if case.id == get_open_id():
            raise MedSegError(f"{case.name} is open and stays: close it first, with the key for the next case")
        assignment.remove_from_list(ws, [case])

    return remove


def make_return(ws: Workspace) -> Change:
    """Return what puts a removed case on its list again."""

    def put_back(case: Case) -> None:
        assignment.return_to_list(ws, [case])

    return put_back


def make_flagging(ws: Workspace, is_flagged: bool) -> Change:
    """Return what flags a case for a colleague, or takes the flag away."""

    def flag(case: Case) -> None:
        notes.set_flag(ws, case, is_flagged)

    return flag


def make_second_reading(ws: Workspace, is_chosen: bool) -> Change:
    """Return what gives a case to a second reader, or to none, whatever the share of second readings says."""

    def choose(case: Case) -> None:
        ws.second_readings.choose(case, is_chosen)

    return choose


def set_groups_held_out(ws: Workspace, groups: Sequence[str], held_out: bool) -> tuple[list[str], list[str]]:
    """Hold groups out, or give them back to training; return the changed groups and the reasons of the others."""
    changed: list[str] = []
    reasons: list[str] = []
    sides = ws.project.read_hold_out_groups()
    with ws.project.transaction():
        for group in groups:
            try:
                if sides.get(group, False) != held_out:
                    set_held_out(ws, group, held_out)
                    changed.append(group)
            except MedSegError as error:
                reasons.append(str(error))
    return changed, reasons


def describe_sides(changed: Sequence[str], reasons: Sequence[str], held_out: bool) -> str:
    """Return what became of groups as text."""
    names = ", ".join(map(get_group_label, changed[:MAX_REASONS])) + f" and {len(changed) - MAX_REASONS:,} more" * (
        len(changed) > MAX_REASONS
    )
    what = "held out from now on: only for evaluation" if held_out else "given back: used for training from now on"
    parts = [f"{names}: {what}."] if changed else ["Nothing was changed."]
    if reasons:
        more = f" And {len(reasons) - MAX_REASONS:,} more." if len(reasons) > MAX_REASONS else ""
        parts.append(f"{len(reasons):,} not: {' '.join(reasons[:MAX_REASONS])}{more}")
    return " ".join(parts)


def select_to_predict_again(rows: Sequence[CaseRow], open_id: int | None) -> Outcome:
    """Return which cases can be predicted again in the background, and why the others cannot.

    A rejected case can: its new prediction is on the list again, undecided.
    """
    outcome = Outcome()
    for row in rows:
        if row.case.id == open_id:
            outcome.reasons.append(f"{row.case.name} is open: press G")
        elif row.state == "draft":
            outcome.reasons.append(f"{row.case.name} has a draft: open it and press G, which keeps what was edited")
        elif row.state == "accepted":
            outcome.reasons.append(f"{row.case.name} is accepted: its labels stay as they are")
        else:
            outcome.done.append(row.case)
    return outcome
