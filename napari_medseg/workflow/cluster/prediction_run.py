"""The prediction of many image files on workers, with the files and names of a run in one process."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from napari_medseg.core.atomic_io import replace_file
from napari_medseg.core.containers.image_source import ImageSource
from napari_medseg.core.decoded_size.limit import get_max_memory
from napari_medseg.core.errors import MedSegError, format_os_error
from napari_medseg.workflow.cluster.case_records import CaseRecord, CaseRecords, make_case_key, make_fingerprint
from napari_medseg.workflow.cluster.case_request import CaseRequest, ModelRequest, get_program_version
from napari_medseg.workflow.cluster.case_run import CaseKind, CaseRun
from napari_medseg.workflow.cluster.connection import Cluster
from napari_medseg.workflow.cluster.manifest import Manifest, Row
from napari_medseg.workflow.cluster.prediction_task import PredictionChoices, make_staged_end, predict_case
from napari_medseg.workflow.image_files.prediction import FilePrediction
from napari_medseg.workflow.output.predictions import PredictionFolder


@dataclass(frozen=True, eq=False)
class PredictionJob:
    """Images to predict into the folder `output`; `out` chooses the names of the label files."""

    sources: Sequence[ImageSource]
    output: Path
    out: PredictionFolder
    settings: FilePrediction
    model: ModelRequest

    @property
    def suffix(self) -> str:
        """End of the label files."""
        return self.settings.label_format.suffix


@contextlib.contextmanager
def begin_predictions(cluster: Cluster, job: PredictionJob) -> Iterator[CaseRun]:
    """Hold the output folder, and begin or continue a run in it; iterate over its `run`.

    Raises
    ------
    MedSegError
        If another command works there.
    """
    records = CaseRecords(job.output)
    with records.hold() as token:
        requests = [_make_request(job, source, token) for source in job.sources]
        naming = _Naming(job, records)
        kind = CaseKind(predict_case, naming.is_complete, naming.finish)
        manifest = Manifest(job.output, requests, _describe)
        yield CaseRun(cluster, records, requests, kind, manifest, naming.refuse)


def describe_predicted(job: PredictionJob, record: CaseRecord) -> dict[str, Any]:
    """Return what is printed of a case, as of a run in one process."""
    about = {"image": record.result["image"], "labels": str(job.output / record.labels_file)}
    entry: dict[str, Any] = record.result["entry"]
    return about | entry | {"remarks": record.result["remarks"]}


def _make_request(job: PredictionJob, source: ImageSource, token: str) -> CaseRequest:
    chosen, model = _make_choices(job.settings), job.model
    paths = tuple(str(path.absolute()) for path in source.paths)
    decisive = asdict(replace(chosen, names_key="")) | {"problem": source.problem}  # the key changes no pixel
    version = [get_program_version(), model.weights_sha256, model.roi_sha256]
    return CaseRequest(
        key=make_case_key(chosen.task, job.suffix, *paths),
        fingerprint=make_fingerprint(source.paths, decisive | {"version": version}),
        paths=paths,
        output=str(job.output.absolute()),
        token=token,
        model=model,
        options={"choices": asdict(chosen), "name": source.name, "problem": source.problem},
        max_memory=get_max_memory(),
    )


def _make_choices(settings: FilePrediction) -> PredictionChoices:
    return PredictionChoices(
        task=settings.task.name,
        label_format=settings.label_format.name,
        naming=settings.namer.naming,
        names_key=settings.namer.key.hex(),
        straighten=settings.straighten,
        force=settings.force,
    )


class _Naming:
    """Gives the label files their names, one case after the other, as `PredictionFolder` does in one process."""

    def __init__(self, job: PredictionJob, records: CaseRecords) -> None:
        self._job, self._records = job, records

    def refuse(self, index: int) -> str:
        """Return why a case is not predicted: its labels exist already, of another version or options."""
        try:
            self._job.out.refuse_existing(self._job.sources[index].paths)
        except MedSegError as error:
            return str(error)
        return ""

    def is_complete(self, record: CaseRecord) -> bool:
        """Whether the labels of a case are there, under their name or still under the hidden one."""
        named = record.labels_file and (self._job.output / record.labels_file).exists()
        return bool(named) or self._get_staged(record).exists()

    def finish(self, index: int, record: CaseRecord) -> CaseRecord:
        """Name the labels of a case: first the table of names, then the record, then the file."""
        staged = self._get_staged(record)
        if not record.labels_file:
            files, out = self._job.sources[index].paths, self._job.out
            entry = out.claim(record.content_sha256, files, record.result["stem"])
            runtime = record.result["entry"].get("runtime", "")
            out.record(entry, record.result["remarks"], record.result["device"], runtime)
            record = record.model_copy(update={"labels_file": entry.labels_file})
            self._records.write(record)
        if staged.exists():
            try:
                replace_file(staged, self._job.output / record.labels_file)
            except OSError as error:
                raise MedSegError(f"cannot write {record.labels_file}: {format_os_error(error)}") from error
        return record

    def _get_staged(self, record: CaseRecord) -> Path:
        return self._records.get_staged_file(record.key, record.fingerprint, make_staged_end(self._job.suffix))


def _describe(record: CaseRecord) -> Row:
    entry = record.result.get("entry", {})
    sizes = {f"{name} ({size['unit']})": size["value"] for name, size in entry.get("sizes", {}).items()}
    names = ("device", "runtime", "uncertainty", "domain_distance")
    return {**{name: entry.get(name) for name in names}, **sizes}
