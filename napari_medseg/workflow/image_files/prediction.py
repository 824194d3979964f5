"""The prediction of one image file into one label file: the same steps in one process and on a cluster."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_medseg.core import formats
from napari_medseg.core.containers.image_source import ImageSource
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.formats.gantry_tilt import is_sheared
from napari_medseg.core.formats.gantry_tilt import straighten as straighten_series
from napari_medseg.core.image import Image
from napari_medseg.core.label_files.description import LabelDescription
from napari_medseg.core.label_files.registry import LabelFormat, find_problem
from napari_medseg.core.quality.label_checks import check_labels
from napari_medseg.core.quality.measurements import Measurement, measure_labels
from napari_medseg.core.records import is_unlike
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.core.tasks.detection import assess_task_fit, check_axes_fit_task, describe_import
from napari_medseg.inference.events import PredictionNotice, PredictionResult, get_result
from napari_medseg.workflow.output.image_names import ImageNamer

if TYPE_CHECKING:
    from napari_medseg.inference.finishing.computed_planes import ComputedPlanes
    from napari_medseg.inference.predictor import Predictor


@dataclass(frozen=True, eq=False)
class FilePrediction:
    """What is the same for all images of a call.

    `straighten` puts series with gantry tilt on an upright grid; `force` also segments images that the task is not for.
    """

    model: str
    task: Task
    namer: ImageNamer
    label_format: LabelFormat
    straighten: bool = False
    force: bool = False


@dataclass(frozen=True, eq=False)
class PredictedImage:
    """An image with its prediction, and its labels on the grid that they are written on."""

    image: Image
    result: PredictionResult
    grid: Image
    labels: Any


@dataclass
class PredictedFiles:
    """What a call wrote: the device, plain data on each image, and errors of the others."""

    device: str
    entries: list[dict[str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def read_fitting_image(source: ImageSource, settings: FilePrediction) -> Image:
    """Read an image that the task is for and whose labels the format can hold; raise `MedSegError` for others."""
    image, task = formats.read_source(source), settings.task
    check_axes_fit_task(image, task)
    problem = "" if settings.force else assess_task_fit(image, task).problem
    if problem:
        raise MedSegError(f"{image.name} {problem} Choose another task, or add --force to segment it all the same.")
    if problem := find_problem(settings.label_format, image):
        raise MedSegError(f"{image.name}: {problem}.")
    return image


def predict_image(
    predictor: "Predictor", image: Image, settings: FilePrediction, tell: Callable[[str], object]
) -> PredictedImage:
    """Predict an image; `tell` takes notices, such as that of a failed GPU. Raises as `Predictor.predict`."""
    return _place(image, get_result(predictor.predict(image), tell), settings)


def compute_planes(
    predictor: "Predictor", image: Image, settings: FilePrediction, tell: Callable[[str], object]
) -> Callable[[], PredictedImage]:
    """Do of `predict_image` what needs the device; what is returned does the rest, in any thread."""
    events = predictor.predict_planes(image)
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            computed: ComputedPlanes = end.value
            return lambda: _place(image, get_result(computed.finish(), tell), settings)
        if isinstance(event, PredictionNotice):
            tell(event.text)


def _place(image: Image, result: PredictionResult, settings: FilePrediction) -> PredictedImage:
    grid, labels = image, result.labels
    moves = settings.straighten and not settings.label_format.names_patient  # labels of a series lie on its slices
    if moves and is_sheared(image.affine) and len(image.spatial_axes) == 3:
        grid, (labels,) = straighten_series(image, [labels])
    return PredictedImage(image, result, grid, labels)


def write_predicted_labels(
    predicted: PredictedImage, target: Path, files: Sequence[Path], settings: FilePrediction
) -> None:
    """Write the label file, whole or not at all; `files` are those of the image, as a person named them."""
    image_file = settings.namer.make_name(predicted.image).stem + formats.get_suffix(files[0])  # a name may be hidden
    described = LabelDescription(settings.task, settings.model, image_file=image_file)
    settings.label_format.write(target, predicted.labels, predicted.grid, described)


def describe_prediction(predicted: PredictedImage, task: Task) -> dict[str, Any]:
    """Return sizes, uncertainty, and what a person should know or check, as plain data for JSON."""
    image, result = predicted.image, predicted.result
    sizes = measure_labels(result.labels, image, task, result.roi)
    return {
        "seconds": round(result.seconds, 3),
        "device": result.device,
        "runtime": result.runtime,
        "uncertainty": round(result.uncertainty, 5),
        "domain_distance": None if result.domain_distance is None else round(result.domain_distance, 3),
        "unlike": is_unlike(result.domain_distance),
        "sizes": {size.label.name: _describe_size(size) for size in sizes},
        "text": ", ".join(f"{size.label.name} {size.text}" for size in sizes),
        "notes": list(describe_import(image, task)),
        "findings": [finding.text for finding in check_labels(result.labels, task, image)],
    }


def _describe_size(size: Measurement) -> dict[str, Any]:
    figures = {"voxels": size.voxels, "value": size.value, "unit": size.unit}
    if size.count is not None:
        figures["objects"] = size.count
    return figures | {f"share of {name}": round(share, 5) for name, share in size.shares}
