"""The prediction of a slide on workers: chunks are predicted in any order and merged in theirs, as in one process."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from napari_medseg.core.atomic_io import remove_file
from napari_medseg.core.decoded_size.limit import get_max_memory
from napari_medseg.core.errors import MedSegError
from napari_medseg.workflow.cluster.case_records import CaseRecord, CaseRecords, make_case_key, make_fingerprint
from napari_medseg.workflow.cluster.case_request import CaseRequest, ModelRequest
from napari_medseg.workflow.cluster.case_run import CaseKind, CaseRun
from napari_medseg.workflow.cluster.connection import Cluster
from napari_medseg.workflow.cluster.manifest import Manifest, Row
from napari_medseg.workflow.cluster.slide_task import CHUNK_END, predict_chunk_on_worker, read_chunk_labels
from napari_medseg.workflow.whole_slide.prediction import WholeSlide, write_chunk


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
        merging = _Merging(job, records)
        kind = CaseKind(predict_chunk_on_worker, merging.is_complete, merging.finish)
        yield CaseRun(cluster, records, requests, kind, Manifest(job.whole.folder, requests, _describe))


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
        return self._records.get_file(record.key, CHUNK_END)

    def _remove(self, record: CaseRecord) -> None:
        self._records.remove(record.key)
        with contextlib.suppress(OSError):  # a leftover is replaced when the chunk is predicted again
            remove_file(self._get_file(record))


def _describe(record: CaseRecord) -> Row:
    return {"chunk": record.result.get("number")}
