"""All figures of the meter for one task: read in the main thread, computed in any."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from napari_medseg.core.project.case_history import WaitingCase
from napari_medseg.core.readings.records import DraftAgreement, ReaderAgreement, VersionAgreement
from napari_medseg.core.records import Case
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.workflow.meter.rows import (
    MeterRow,
    Unmeasured,
    list_meter_rows,
    list_unmeasured,
    measure_drafts,
    store_draft_agreement,
)
from napari_medseg.workflow.meter.saturation import (
    RetrainPair,
    Saturation,
    find_retrain_pair,
    judge_saturation,
    read_compared,
)
from napari_medseg.workflow.meter.trend import (
    Forecast,
    Saving,
    VersionWork,
    forecast_rest,
    list_savings,
    list_version_work,
)
from napari_medseg.workflow.second_reader.readings import (
    LabelSummary,
    ReadTwice,
    compute_missing_agreements,
    list_read_twice,
    store_agreement,
    summarise_agreement,
)
from napari_medseg.workflow.workspace import Workspace


@dataclass(frozen=True)
class MeterRecords:
    """What the project knows; `unmeasured` are older corrections, see `rows.list_unmeasured`.

    `waiting` are the cases that nobody has decided. `unread` are cases that the person who works now is to read blind:
    their rows count, but are not shown.
    """

    folder: Path
    task: Task
    rows: tuple[MeterRow, ...]
    waiting: tuple[WaitingCase, ...]
    unmeasured: tuple[Unmeasured, ...]
    pair: RetrainPair | None
    compared: tuple[VersionAgreement, ...]
    read_twice: tuple[ReadTwice, ...]
    unread: tuple[Case, ...] = ()

    @property
    def shown_rows(self) -> tuple[MeterRow, ...]:
        """The rows that may be shown one by one."""
        hidden = {case.id for case in self.unread}
        return tuple(row for row in self.rows if row.case.id not in hidden)

    @property
    def is_measured(self) -> bool:
        """Whether `measure_missing` has nothing to do."""
        return not self.unmeasured and all(one.second is None or one.agreement for one in self.read_twice)


@dataclass(frozen=True)
class MeterFigures:
    """What the meter tells of one task."""

    records: MeterRecords
    work: tuple[VersionWork, ...]
    savings: tuple[Saving, ...]
    forecast: Forecast
    saturation: tuple[Saturation, ...]
    agreement: tuple[LabelSummary, ...]


def read_meter(ws: Workspace, task: str) -> MeterRecords:
    """Read all records of a task. Call it in the main thread."""
    rows, pair = list_meter_rows(ws, task), find_retrain_pair(ws, task)
    unread = ws.second_readings.list_unread(task)
    return MeterRecords(
        ws.project.folder,
        ws.tasks.get_task(task),
        tuple(rows),
        tuple(ws.project.listed.read_waiting(task)),
        tuple(list_unmeasured(ws, rows)),
        pair,
        tuple(read_compared(ws, pair)),
        tuple(list_read_twice(ws, task)),
        tuple(case for case, _ in ws.project.read_accepted_cases(task) if case.id in unread),
    )


def measure_missing(records: MeterRecords) -> Iterator[DraftAgreement | ReaderAgreement]:
    """Compare stored labels that were not compared yet, in any thread; give each result to `store_measured`."""
    yield from measure_drafts(records.folder, records.task, records.unmeasured)
    yield from compute_missing_agreements(records.folder, records.task, records.read_twice)


def store_measured(ws: Workspace, agreement: DraftAgreement | ReaderAgreement) -> None:
    """Write one result of `measure_missing`; in the main thread."""
    if isinstance(agreement, DraftAgreement):
        store_draft_agreement(ws, agreement)
    else:
        store_agreement(ws, agreement)


def compute_figures(records: MeterRecords) -> MeterFigures:
    """Compute all figures; it takes a tenth of a second for thousands of corrections, and may run in any thread."""
    return MeterFigures(
        records,
        tuple(list_version_work(records.rows)),
        tuple(list_savings(records.rows)),
        forecast_rest(records.rows, [*records.waiting, *records.unread]),
        tuple(judge_saturation(records.pair, records.compared, records.rows, records.waiting)),
        tuple(summarise_agreement(records.task, records.read_twice)),
    )
