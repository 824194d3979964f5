"""A slide on workers: chunks are predicted in any order, and merged by the client in theirs, as in one process.

The labels of a chunk wait in a file until it is their turn.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.atomic_io import atomic_write, remove_file
from napari_medseg.core.decoded_size.limit import get_max_memory
from napari_medseg.core.errors import MedSegError, get_reason
from napari_medseg.core.quality.array_archive import read_arrays
from napari_medseg.core.slides.open_slide import open_slide
from napari_medseg.core.slides.slide import DamagedPartError, Slide
from napari_medseg.inference.events import get_result
from napari_medseg.workflow.cluster.case_records import CaseRecord, CaseRecords, make_case_key, make_fingerprint
from napari_medseg.workflow.cluster.case_request import CaseRequest, ModelRequest
from napari_medseg.workflow.cluster.case_run import CaseKind, CaseRun
from napari_medseg.workflow.cluster.case_task import CaseOutcome, run_case
from napari_medseg.workflow.cluster.connection import Cluster
from napari_medseg.workflow.cluster.manifest import Manifest, Row, make_waiting_row
from napari_medseg.workflow.cluster.warm_models import WarmModels
from napari_medseg.workflow.whole_slide.manifest import Manifest as SlideManifest
from napari_medseg.workflow.whole_slide.manifest import SlideIdentity, read_manifest
from napari_medseg.workflow.whole_slide.prediction import WholeSlide, read_chunk, write_chunk

CHUNK_END = "-chunk.npz"


@dataclass(frozen=True, eq=False)
class SlideJob:
    """A slide whose prediction is begun or continued: `whole` is open, `path` is what the workers read."""

    whole: WholeSlide
    path: Path
    model: ModelRequest


@contextlib.contextmanager
def begin_slide(cluster: Cluster, job: SlideJob) -> Iterator[CaseRun]:
    """Hold the folder of a prediction, and do the chunks that are left; iterate over the `run`.

    Chunks that workers predicted before the client was killed are merged, not predicted again.

    Raises
    ------
    MedSegError
        If another command works there.
    """
    records = CaseRecords(job.whole.folder)
    with records.hold() as token:
        numbers = job.whole.table.list_chunks("waiting", "failed")
        requests = [_make_request(job, number, token) for number in numbers]
        records.remove_others({request.key for request in requests})  # chunks that are merged
        merging = _Merging(job, records)
        kind = CaseKind(predict_chunk_on_worker, merging.is_complete, merging.finish)
        manifest = Manifest(job.whole.folder, requests, _describe, _list_merged(job, token))
        yield CaseRun(cluster, records, requests, kind, manifest)


def _list_merged(job: SlideJob, token: str) -> list[Row]:
    """Return the rows of the chunks that earlier starts merged."""
    numbers = job.whole.table.list_chunks("done")
    return [
        make_waiting_row(_make_request(job, number, token)) | {"state": "done", "chunk": number} for number in numbers
    ]


def _make_request(job: SlideJob, number: int, token: str) -> CaseRequest:
    manifest, path = job.whole.manifest, str(job.path.absolute())
    decisive = {"slide": manifest.slide.key, "sha256": job.model.weights_sha256, "created": manifest.created}
    return CaseRequest(
        key=make_case_key("chunk", str(number)),
        fingerprint=make_fingerprint([], decisive),
        paths=(path,),
        output=str(job.whole.folder.absolute()),
        token=token,
        model=job.model,
        options={"number": number},
        max_memory=get_max_memory(),
    )


class _Merging:
    """Merges chunks in the order of their numbers: nuclei on borders do not depend on speed."""

    def __init__(self, job: SlideJob, records: CaseRecords) -> None:
        self._job, self._records = job, records

    def is_complete(self, record: CaseRecord) -> bool:
        """Whether the labels of a chunk wait for their turn; a damaged chunk is tried again."""
        return self._get_file(record).exists()

    def finish(self, index: int, record: CaseRecord) -> CaseRecord:
        """Merge one chunk and commit it, then remove what the worker left."""
        number = int(record.result["number"])
        if damage := str(record.result.get("damage", "")):
            self._job.whole.table.fail_chunk(number, damage)
            self._remove(record)
            raise MedSegError(damage)
        file = self._get_file(record)
        write_chunk(self._job.whole, number, read_chunk_labels(file), time.monotonic() - record.seconds)
        self._remove(record)
        return record

    def _get_file(self, record: CaseRecord) -> Path:
        return self._records.get_staged_file(record.key, record.fingerprint, CHUNK_END)

    def _remove(self, record: CaseRecord) -> None:
        self._records.remove(record.key)
        with contextlib.suppress(OSError):  # a leftover is replaced when the chunk is predicted again
            remove_file(self._get_file(record))


def _describe(record: CaseRecord) -> Row:
    return {"chunk": record.result.get("number")} | {name: record.result.get(name) for name in ("device", "runtime")}


def predict_chunk_on_worker(request: CaseRequest) -> dict[str, Any]:
    """Predict one chunk: a task. Returns its record, see `case_task.run_case`."""
    return run_case(request, _predict_chunk)


def read_chunk_labels(file: Path) -> NDArray[Any]:
    """Read the labels (h, w) that a worker wrote; raise `MedSegError` if the file is damaged."""
    try:
        labels: NDArray[Any] = read_arrays(file)["labels"]
    except (ValueError, KeyError) as error:
        raise MedSegError(f"{file} is damaged ({get_reason(error)}). Delete it, then predict again.") from error
    return labels


def _predict_chunk(request: CaseRequest, models: WarmModels) -> CaseOutcome:
    assert request.model is not None
    number, notes = int(request.options["number"]), list[str]()
    slide, manifest = _open(request.paths[0], request.output, request.fingerprint, threading.get_ident())
    try:
        image = read_chunk(manifest, slide, number)
    except DamagedPartError as error:  # the folder of a prediction names no one
        return CaseOutcome({"number": number, "damage": str(error).replace(slide.name, "the slide")})
    with models.lend(request.model) as predictor:
        found = get_result(predictor.predict(image), notes.append)
    file = CaseRecords(Path(request.output)).get_staged_file(request.key, request.fingerprint, CHUNK_END)
    with atomic_write(file) as beside:
        np.savez_compressed(beside, labels=found.labels)
    return CaseOutcome({"number": number, "device": found.device, "runtime": found.runtime}, notes=notes)


@lru_cache(maxsize=4)
def _open(path: str, folder: str, prediction: str, thread: int) -> tuple[Slide, SlideManifest]:
    """Open a slide once for each prediction and thread; raise `MedSegError` if it is another one."""
    slide, manifest = open_slide(Path(path)), read_manifest(Path(folder))
    if SlideIdentity.of(slide) != manifest.slide:
        with contextlib.suppress(OSError):
            slide.close()
        raise MedSegError(f"the slide at {path} is another one than where the command was given.")
    return slide, manifest
