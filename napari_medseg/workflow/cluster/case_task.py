"""What every task does around its case: checks of the worker, a record of what became of it, and no second time."""

import logging
import os
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_medseg.core.containers.part_paths import exists
from napari_medseg.core.decoded_size.free_memory import relieve_bounded_process
from napari_medseg.core.decoded_size.limit import allow_memory
from napari_medseg.core.errors import MedSegError, translate_errors
from napari_medseg.workflow.cluster.case_records import MAX_STARTS, CaseRecord, CaseRecords
from napari_medseg.workflow.cluster.case_request import CaseRequest, get_program_version
from napari_medseg.workflow.cluster.warm_models import UnfitWorkerError, WarmModels, get_warm_models

LOGGERS = ("napari_medseg", "training")


@dataclass
class CaseOutcome:
    """What a task found out about its case."""

    result: dict[str, Any]
    content_sha256: str = ""
    notes: list[str] = field(default_factory=list)


Compute = Callable[[CaseRequest, WarmModels], CaseOutcome]
"""Does a case; raises `MedSegError` if it cannot be done."""


def run_case(request: CaseRequest, compute: Compute) -> dict[str, Any]:
    """Run a task on its case and return its record as plain data.

    A case whose record is there already, because only the message about it was lost, is not done again. A case whose
    workers died `MAX_STARTS` times fails.

    Raises
    ------
    UnfitWorkerError
        If this worker cannot do any case.
    """
    models = get_warm_models()
    if problem := find_worker_problem(request):
        raise UnfitWorkerError(models.address, problem)
    records = CaseRecords(Path(request.output))
    known = records.read(request.key)
    if known is not None and known.state == "done" and known.fingerprint == request.fingerprint:
        return known.model_dump(mode="json")
    if request.model is not None:
        models.warm(request.model)  # its seconds are not those of the case
    before = records.begin(request.key, request.token, models.address)  # before the case, which may kill this process
    if len(before) >= MAX_STARTS:
        record = _make_record(request, models, before, state="failed", error=_explain_deaths(before))
    else:
        record = _compute_record(request, compute, models, before)
    _keep(record, request, records)
    relieve_bounded_process()
    return record.model_dump(mode="json")


def _keep(record: CaseRecord, request: CaseRequest, records: CaseRecords) -> None:
    """Write a record. A task whose client is gone must not spoil what a later client had done meanwhile."""
    is_alone = not (records.folder / request.token).exists()
    if is_alone and (record.state == "failed" or records.read(request.key) is not None):
        return
    records.write(record)
    records.end(request.key)


def find_worker_problem(request: CaseRequest) -> str:
    """Return why this worker cannot do any case; empty if it can."""
    if request.program != (here := get_program_version()):
        return f"it has napari-medseg {here}, and the command {request.program}. Install the same version everywhere."
    token = CaseRecords(Path(request.output)).folder / request.token
    if not token.exists():
        return (
            f"it does not see the output folder {request.output}. Put it on a disk that all machines share, under the "
            "same path."
        )
    return ""


def _compute_record(
    request: CaseRequest,
    compute: Compute,
    models: WarmModels,
    before: list[str],
) -> CaseRecord:
    began = time.monotonic()
    try:
        with _collect_warnings() as warnings, allow_memory(request.max_memory), translate_errors():
            _refuse_unseen(request, models.address)
            outcome = compute(request, models)
    except UnfitWorkerError:
        raise
    except MedSegError as error:
        return _make_record(request, models, before, state="failed", error=str(error))
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{type(error).__name__}: {error} ({Path(place.filename).name}, line {place.lineno})"
        logging.getLogger(__name__).exception("a case failed by a fault of the program")
        return _make_record(request, models, before, state="failed", error=f"a fault of the program: {what}")
    return _make_record(
        request,
        models,
        before,
        state="done",
        content_sha256=outcome.content_sha256,
        seconds=round(time.monotonic() - began, 3),
        notes=(*outcome.notes, *warnings),
        result=outcome.result,
    )


def _make_record(request: CaseRequest, models: WarmModels, before: list[str], **values: Any) -> CaseRecord:  # noqa: ANN401
    return CaseRecord(
        key=request.key,
        fingerprint=request.fingerprint,
        path=os.fsencode(request.paths[0]).decode("utf-8", "backslashreplace"),
        worker=models.address,
        n_starts=len(before) + (len(before) < MAX_STARTS),
        **values,
    )


def _explain_deaths(workers: list[str]) -> str:
    return (
        f"{len(workers)} workers ended while they worked on it ({', '.join(workers)}). Most often memory was too "
        "short: give each worker more with --memory, or start fewer workers. The logs of the workers say more."
    )


def _refuse_unseen(request: CaseRequest, worker: str) -> None:
    """Refuse files that this worker does not see, although the client did; a known problem is reported as such."""
    if request.options.get("problem"):
        return
    unseen = next((path for path in request.paths if not exists(Path(path))), None)
    if unseen is not None:
        raise MedSegError(
            f"the worker {worker} does not see {unseen}. All machines need the images under the same path: put them on "
            "a disk that they share. If it is on one, check that the file is still there."
        )


class _Collector(logging.Handler):
    """Keeps the warnings of one thread."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.texts.append(record.getMessage())


@contextmanager
def _collect_warnings() -> Iterator[list[str]]:
    """Collect what this thread warns of: the user reads it where the command was given, not on the worker."""
    collector = _Collector()
    for name in LOGGERS:
        logging.getLogger(name).addHandler(collector)
    try:
        yield collector.texts
    finally:
        for name in LOGGERS:
            logging.getLogger(name).removeHandler(collector)
