"""One chunk of a slide on a worker: its labels wait in a file until the client merges them, in order."""

import contextlib
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.atomic_io import atomic_write
from napari_medseg.core.errors import MedSegError, get_reason
from napari_medseg.core.quality.array_archive import read_arrays
from napari_medseg.core.slides.open_slide import open_slide
from napari_medseg.core.slides.slide import DamagedPartError, Slide
from napari_medseg.inference.events import get_result
from napari_medseg.workflow.cluster.case_records import CaseRecords
from napari_medseg.workflow.cluster.case_request import CaseRequest
from napari_medseg.workflow.cluster.case_task import CaseOutcome, run_case
from napari_medseg.workflow.cluster.warm_models import WarmModels
from napari_medseg.workflow.whole_slide.manifest import Manifest, SlideIdentity, read_manifest
from napari_medseg.workflow.whole_slide.prediction import read_chunk

CHUNK_END = "-chunk.npz"


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
        found = get_result(predictor.predict(image), notes.append).labels
    with atomic_write(CaseRecords(Path(request.output)).get_file(request.key, CHUNK_END)) as beside:
        np.savez_compressed(beside, labels=found)
    return CaseOutcome({"number": number}, notes=notes)


@lru_cache(maxsize=4)
def _open(path: str, folder: str, prediction: str, thread: int) -> tuple[Slide, Manifest]:
    """Open a slide once for each prediction and thread; raise `MedSegError` if it is another one."""
    slide, manifest = open_slide(Path(path)), read_manifest(Path(folder))
    if SlideIdentity.of(slide) != manifest.slide:
        with contextlib.suppress(OSError):
            slide.close()
        raise MedSegError(f"the slide at {path} is another one than where the command was given.")
    return slide, manifest
