"""The prediction of one image on a worker: its labels wait under a hidden name until the client names them."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_medseg.core.containers.image_source import ImageSource
from napari_medseg.core.file_names import Naming
from napari_medseg.core.label_files.registry import find_label_format
from napari_medseg.workflow.cluster.case_records import CaseRecords
from napari_medseg.workflow.cluster.case_request import CaseRequest
from napari_medseg.workflow.cluster.case_task import CaseOutcome, run_case
from napari_medseg.workflow.cluster.warm_models import WarmModels, read_task
from napari_medseg.workflow.image_files.prediction import (
    FilePrediction,
    describe_prediction,
    predict_image,
    read_fitting_image,
    write_predicted_labels,
)
from napari_medseg.workflow.output.image_names import ImageNamer
from napari_medseg.workflow.output.provenance import describe_grid


@dataclass(frozen=True)
class PredictionChoices:
    """The options of a prediction, as plain data; `names_key` is the hexadecimal key for labels of patients."""

    task: str
    label_format: str
    naming: Naming
    names_key: str = field(repr=False)
    straighten: bool
    force: bool


def predict_case(request: CaseRequest) -> dict[str, Any]:
    """Predict one image and write its labels: a task. Returns its record, see `case_task.run_case`."""
    return run_case(request, _predict)


def make_staged_end(suffix: str) -> str:
    """Return the end of the labels of a case that have no final name yet, see `CaseRecords.get_staged_file`."""
    return f"-labels{suffix}"


def _predict(request: CaseRequest, models: WarmModels) -> CaseOutcome:
    assert request.model is not None
    chosen = PredictionChoices(**request.options["choices"])
    paths = tuple(map(Path, request.paths))
    source = ImageSource(request.options["name"], paths, problem=request.options["problem"])
    notes: list[str] = []
    settings = FilePrediction(
        model=request.model.model,
        task=read_task(request.model.registry, chosen.task, request.token),
        namer=ImageNamer(chosen.naming, bytes.fromhex(chosen.names_key)),
        label_format=find_label_format(chosen.label_format),
        straighten=chosen.straighten,
        force=chosen.force,
    )
    image = read_fitting_image(source, settings)
    stem = settings.namer.make_name(image).stem
    with models.lend(request.model) as predictor:  # only now: another thread reads its case meanwhile
        predicted = predict_image(predictor, image, settings, notes.append)
    ending, records = make_staged_end(settings.label_format.suffix), CaseRecords(Path(request.output))
    staged = records.get_staged_file(request.key, request.fingerprint, ending)
    write_predicted_labels(predicted, staged, paths, settings)
    result = {
        "stem": stem,
        "remarks": describe_grid(predicted.grid, image, staged.name),
        "entry": describe_prediction(predicted, settings.task),
        "device": predicted.result.device,
        "image": [os.fsencode(path).decode("utf-8", "backslashreplace") for path in request.paths],
    }
    return CaseOutcome(result, image.content_hash, notes)
