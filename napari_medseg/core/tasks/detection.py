"""Check whether an image fits a task, and detect the task of an image if none was chosen.

A task accepts images by their axes. Modality, SOP class, body part and view may rule it out. Where the header says
nothing (other formats, modality OT, a secondary capture), the look of the image decides.

Haematoxylin and eosin, the dyes of histology, both absorb most in the green (Ruifrok and Johnston, Quantification of
histochemical staining by color deconvolution, 2001); blood and mucosa absorb blue as strongly. So the share of green in
the optical density tells stained tissue from endoscopy; `benchmarks/image_kinds.py` measures it, docs/list.md has the
table. It errs too often to refuse an image, so it only chooses the task, and is told. A task for grey images refuses an
image that is really coloured.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from napari_medseg.core.acquisition import Acquisition
from napari_medseg.core.dicom.acquisition import SILENT_MODALITIES
from napari_medseg.core.dicom.sop_classes import get_implied_modality
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.tasks.body_regions import find_body_region
from napari_medseg.core.tasks.bundled_tasks import TASKS, Task
from napari_medseg.core.tasks.custom_task import IMAGE_KINDS, list_modalities

MAX_SAMPLED_PIXELS = 40_000
MIN_STAINED_GREEN_DENSITY = 0.406
"""Minimum share of the green channel in the optical density of stained tissue; 1/3 is grey."""
DENSE_SHARE = 0.7
"""Of the pixels, the densest ones are looked at: the glass between tissue says nothing."""
MIN_PALE_BRIGHTNESS = 0.5
PALE_BLUE_TO_RED = (0.95, 1.6)
"""Brightness (share of white) and blue to red of a pale image with faint dyes; mucosa is redder, a screen is bluer."""
MAX_BLACK = 0.08
"""A frame whose pixels are nearly all darker (share of white) is black: the camera was off or outside the body."""
MIN_COLOUR_SPREAD = 0.08
MIN_COLOURED_SHARE = 0.05
"""An image is coloured if in this share of its pixels the channels differ by this share of white. A grey image with a
coloured caption, or saved as JPEG, is not coloured."""

MODALITY_TITLES = {
    "CT": "CT",
    "CR": "radiography",
    "DX": "radiography",
    "MR": "MR",
    "US": "ultrasound",
    "XA": "angiography",
    "RF": "fluoroscopy",
    "MG": "mammography",
    "PT": "PET",
    "NM": "nuclear medicine",
    "SM": "slide microscopy",
    "GM": "microscopy",
    "ES": "endoscopy",
    "XC": "photography",
}
_CT_BY_VALUES = "The file names no modality; by its values the image is a CT in HU."
# Photographs and microscopes serve several tasks, so among these tasks the look chooses.
_GENERAL_MODALITIES = ("GM", "XC")


@dataclass(frozen=True)
class TaskFit:
    """Whether an image is meant for a task.

    Parameters
    ----------
    problem
        What rules the task out, as a sentence without its subject, the image; empty if nothing does.
    note
        What the answer rests on where the header does not say it, as a sentence; empty if the header does.
    """

    problem: str = ""
    note: str = ""


def image_fits_task(image: Image, task: Task) -> bool:
    """Whether a task accepts the axes of an image; a task for grey images also accepts colour images."""
    return image.axes in task.axes or image.spatial_axes in task.axes


def check_axes_fit_task(image: Image, task: Task) -> None:
    """Raise an error if a task does not accept the axes of an image.

    Raises
    ------
    MedSegError
        The text names the axes of the image and of the task.
    """
    if not image_fits_task(image, task):
        raise MedSegError(
            f"{image.name} has axes {image.axes!r}, but task {task.name!r} needs one of {list(task.axes)}. "
            "Choose another task, or open a single slice."
        )


def check_image_fits_task(image: Image, task: Task) -> None:
    """Raise an error if a task does not accept an image.

    Raises
    ------
    MedSegError
        If the axes do not fit, or modality, SOP class, body part, view or colour rule the task out.
    """
    check_axes_fit_task(image, task)
    if problem := assess_task_fit(image, task).problem:
        raise MedSegError(f"{image.name} {problem} Choose another task, or another image.")


def assess_task_fit(image: Image, task: Task) -> TaskFit:
    """Judge by modality, SOP class, body part and view; where they say nothing, by the look."""
    if task.modalities and (problem := _find_excluding_header(image, task)):
        return TaskFit(problem)
    if _says_how_it_was_made(image):
        return TaskFit() if image.acquisition.sop_class or image.units != "HU" else TaskFit(note=_CT_BY_VALUES)
    says = _describe_silence(image)
    look = detect_look(image)
    if task.looks == ("grey",) and look != "grey":
        return TaskFit(f"{says}, and it is coloured, but {task.title} is for grey images.")
    found = f"{says}; it looks {look}"
    if task.looks and look not in task.looks:
        return TaskFit(note=f"The image {found}, not {' or '.join(task.looks)}: please check the task.")
    return TaskFit(note=f"The image {found}, as images for {task.title} do.")


def describe_import(image: Image, task: Task) -> tuple[str, ...]:
    """Return what a person should know of an image of a task: how it was read, and what the fit rests on."""
    fit = assess_task_fit(image, task)
    forced = f"Forced: the image {fit.problem}" if fit.problem else ""
    return tuple(text for text in (*image.notes, fit.note, forced) if text)


def is_coloured(image: Image) -> bool:
    """Whether an image shows colours; False for grey images stored as RGB, with a coloured caption or as JPEG."""
    if not image.axes.endswith("C"):
        return False
    pixels = image.pixels.reshape(-1, image.pixels.shape[-1])
    sample = pixels[:: max(1, len(pixels) // MAX_SAMPLED_PIXELS), :3].astype(np.float64)
    spread = sample.max(axis=1) - sample.min(axis=1)
    return float(np.mean(spread > MIN_COLOUR_SPREAD * _get_white(image))) >= MIN_COLOURED_SHARE


def detect_look(image: Image) -> str:
    """Return ``"grey"``, ``"stained"`` or ``"endoscopic"``."""
    if not image.axes.endswith("C"):
        return "grey"
    pixels = image.pixels.reshape(-1, image.pixels.shape[-1])
    shares = np.clip(pixels[:: max(1, len(pixels) // MAX_SAMPLED_PIXELS), :3] / _get_white(image), 1.0 / 255.0, 1.0)
    if not is_coloured(image):
        return "grey" if np.quantile(shares, 0.99) > MAX_BLACK else "endoscopic"
    density = -np.log(shares)
    total = density.sum(axis=1)
    dense = density[total >= np.quantile(total, 1.0 - DENSE_SHARE)].sum(axis=0)
    red, _, blue = shares.mean(axis=0)
    is_pale = shares.mean() >= MIN_PALE_BRIGHTNESS and PALE_BLUE_TO_RED[0] <= blue / red <= PALE_BLUE_TO_RED[1]
    return "stained" if is_pale or dense[1] >= MIN_STAINED_GREEN_DENSITY * dense.sum() > 0 else "endoscopic"


def suggest_image_kind(image: Image) -> str:
    """Return the kind of images, a key of `IMAGE_KINDS`, that a new task for this image is for.

    The modality decides if it belongs to one kind; otherwise the look does.
    """
    modality = "CT" if image.units == "HU" else image.modality
    fitting = [word for word, kind in IMAGE_KINDS.items() if modality in kind.modalities and image.axes in kind.axes]
    if fitting and modality not in _GENERAL_MODALITIES:
        return min(fitting, key=lambda word: len(IMAGE_KINDS[word].modalities))  # the kind that says most
    return {"stained": "histology", "endoscopic": "endoscopy"}.get(detect_look(image), "grey")


def task_is_meant_for(task: Task, image: Image) -> bool:
    """Whether an image has the axes of a task and nothing rules it out; without a modality, the look must match."""
    if image.axes not in task.axes or assess_task_fit(image, task).problem:
        return False
    if image.modality in _GENERAL_MODALITIES or not _says_how_it_was_made(image):
        return detect_look(image) in task.looks
    return image.modality in list_modalities(task)


def detect_task(image: Image, current: Task, tasks: Iterable[Task] = tuple(TASKS.values())) -> Task:
    """Return the current task if it is meant for the image, else the first task that is, else the current one."""
    if task_is_meant_for(current, image):
        return current
    return next((task for task in tasks if task_is_meant_for(task, image)), current)


def _find_excluding_header(image: Image, task: Task) -> str:
    """Return what of the header rules a task out, as a sentence; empty if nothing does."""
    accepted = list_modalities(task)
    for modality in (image.modality, get_implied_modality(image.acquisition.sop_class)):
        if modality not in SILENT_MODALITIES and modality not in accepted:
            return f"is {_name_modality(modality)}, but {task.title} is for {', '.join(accepted)}."
    limits = [limit for limit in task.limits if image.modality in limit.modalities]
    region = find_body_region(image.acquisition.body_part)
    for limit in limits:
        if image.acquisition.view in limit.excluded_views:
            return f"is a {image.acquisition.view} view ({image.modality}), which {task.title} is not for."
        if limit.body_regions and region and region not in limit.body_regions:
            wanted = " or ".join(limit.body_regions)
            return f"shows {image.acquisition.body_part} ({image.modality}), but {task.title} is for {wanted}."
    return ""


def _says_how_it_was_made(image: Image) -> bool:
    return image.modality not in SILENT_MODALITIES and not _is_secondary_capture(image.acquisition)


def _is_secondary_capture(acquisition: Acquisition) -> bool:
    return "Secondary Capture" in acquisition.sop_class


def _describe_silence(image: Image) -> str:
    if _is_secondary_capture(image.acquisition):
        return f"is a secondary capture ({image.modality or 'without modality'})"
    if image.modality:
        return f"has modality {image.modality}, which says nothing about the image"
    return "has no header that says how it was made"


def _name_modality(modality: str) -> str:
    title = MODALITY_TITLES.get(modality, modality)
    return title if title == modality else f"{title} ({modality})"


def _get_white(image: Image) -> float:
    pixels = image.pixels
    return float(np.iinfo(pixels.dtype).max) if pixels.dtype.kind in "ui" else max(1.0, float(pixels.max()))
