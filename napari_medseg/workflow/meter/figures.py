"""All figures of the meter for one task: read in the main thread, computed in any."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_medseg.core.readings.records import DraftAgreement, ReaderAgreement, VersionAgreement
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.workflow.cases import CaseRow
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
    """What the project knows; `unmeasured` are older corrections, see `rows.list_unmeasured`."""

    folder: Path
    task: Task
    rows: tuple[MeterRow, ...]
    cases: tuple[CaseRow, ...]
    unmeasured: tuple[Unmeasured, ...]
    pair: RetrainPair | None
    compared: tuple[VersionAgreement, ...]
    read_twice: tuple[ReadTwice, ...]

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


def read_meter(ws: Workspace, task: str, cases: Sequence[CaseRow]) -> MeterRecords:
    """Read all records of a task; `cases` is its list. Call it in the main thread."""
    rows, pair = list_meter_rows(ws, task), find_retrain_pair(ws, task)
    return MeterRecords(
        ws.project.folder,
        ws.tasks.get_task(task),
        tuple(rows),
        tuple(cases),
        tuple(list_unmeasured(ws, rows)),
        pair,
        tuple(read_compared(ws, pair)),
        tuple(list_read_twice(ws, task)),
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
    waiting = [row.case for row in records.cases if not row.is_decided]
    return MeterFigures(
        records,
        tuple(list_version_work(records.rows)),
        tuple(list_savings(records.rows)),
        forecast_rest(records.rows, waiting),
        tuple(judge_saturation(records.pair, records.compared, records.rows, records.cases)),
        tuple(summarise_agreement(records.task, records.read_twice)),
    )
