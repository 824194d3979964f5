"""Modality, SOP class, body part and view decide whether an image fits a task; else its look does."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import napari_medseg
from napari_medseg.core import formats
from napari_medseg.core.acquisition import Acquisition
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.hounsfield import looks_like_hu
from napari_medseg.core.image import Image
from napari_medseg.core.quality.label_checks import check_labels
from napari_medseg.core.tasks.body_regions import find_body_region
from napari_medseg.core.tasks.bundled_tasks import TASKS
from napari_medseg.core.tasks.custom_task import make_custom_task
from napari_medseg.core.tasks.detection import (
    assess_task_fit,
    check_axes_fit_task,
    check_image_fits_task,
    describe_import,
    detect_look,
    detect_task,
)

LUNGS = TASKS["lungs"]
SAMPLES = Path(napari_medseg.__file__).parent / "samples"
SC = "Secondary Capture Image Storage"


def film(modality: str = "DX", **made: Any) -> Image:
    return Image(np.zeros((8, 8), np.uint16), "YX", modality=modality, name="a", acquisition=Acquisition(**made))


def coloured() -> np.ndarray:
    pixels = np.full((30, 40, 3), (150, 70, 60), np.uint8)
    pixels[::2] += 3
    return pixels


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (film("US"), r"ultrasound \(US\)"),
        (film("XA"), "angiography"),
        (film("RF"), "fluoroscopy"),
        (film("MG"), "mammography"),
        (film("PT"), "PET"),
        (film("NM"), "nuclear medicine"),
        (film("MR"), "is MR, but"),
        (film("IO"), "is IO"),
        (film("CT", sop_class="Ultrasound Multi-frame Image Storage"), "ultrasound"),
        (film("OT", sop_class="Positron Emission Tomography Image Storage"), "PET"),
        (film("US", sop_class=SC), "ultrasound"),
        (film("DX", view="lateral"), r"lateral view \(DX\)"),
        (film("CR", view="lateral"), "lateral view"),
        (film("DX", view="oblique"), "oblique view"),
        (film("CT", view="localizer"), "localizer view"),
        (film("DX", body_part="KNEE"), "shows KNEE"),
        (film("DX", body_part="ABDOMEN"), "shows ABDOMEN"),
        (film("CR", body_part="Left hand"), "shows Left hand"),
        (film("CT", body_part="HEAD"), "shows HEAD"),
        (film("CT", body_part="LEFT_KNEE"), "shows LEFT_KNEE"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, str) else "",
)
def test_what_the_header_rules_out_is_refused(image: Image, reason: str) -> None:
    assert assess_task_fit(image, LUNGS).problem
    with pytest.raises(MedSegError, match=rf"^a .*{reason}"):
        check_image_fits_task(image, LUNGS)
    check_axes_fit_task(image, LUNGS)  # what a forced prediction checks


@pytest.mark.parametrize(
    "image",
    [
        film("CT"),
        film("CT", sop_class="CT Image Storage", body_part="CHEST"),
        film("CT", sop_class="Enhanced CT Image Storage", body_part="CHEST_TO_PELVIS"),
        film("CT", body_part="ABDOMEN"),
        film("CT", body_part="WHOLEBODY"),
        film("CT", body_part="X-77"),
        film("DX", sop_class="Digital X-Ray Image Storage - For Presentation", body_part="THORAX", view="frontal"),
        film("CR", sop_class="Computed Radiography Image Storage", view="decubitus"),
        film("DX", sop_class="Computed Radiography Image Storage", body_part="Lunge"),
        film("DX", body_part="PORT CHEST AP"),
        film("RG"),
    ],
)
def test_what_fits_passes_without_a_remark(image: Image) -> None:
    fit = assess_task_fit(image, LUNGS)
    assert (fit.problem, fit.note) == ("", "")


@pytest.mark.parametrize(
    ("made", "says"),
    [
        ({"modality": "OT"}, "has modality OT, which says nothing about the image; it looks grey"),
        ({"modality": "OT", "sop_class": SC}, r"is a secondary capture \(OT\); it looks grey"),
        ({"modality": "CT", "sop_class": SC}, r"is a secondary capture \(CT\); it looks grey"),
        ({"modality": ""}, "has no header that says how it was made; it looks grey"),
    ],
)
def test_where_the_header_says_nothing_the_look_decides_and_this_is_told(made: dict[str, str], says: str) -> None:
    image = film(**made)
    (note,) = describe_import(image, LUNGS)
    assert re.search(says, note)
    check_image_fits_task(image, LUNGS)
    colour = Image(coloured(), "YXC", units="rgb", modality=image.modality, acquisition=image.acquisition)
    with pytest.raises(MedSegError, match="it is coloured, but Lungs"):
        check_image_fits_task(colour, LUNGS)


def test_grey_image_stored_in_colour_is_grey() -> None:
    rng = np.random.default_rng(0)
    grey = np.repeat(rng.integers(0, 250, (60, 80, 1)), 3, axis=2)
    jpeg_noise = (grey + rng.integers(0, 6, grey.shape)).astype(np.uint8)
    caption = jpeg_noise.copy()
    caption[:2, :60] = (255, 255, 0)
    for pixels in (jpeg_noise, caption):
        assert detect_look(Image(pixels, "YXC", units="rgb")) == "grey"


def test_a_look_that_may_err_is_told_and_not_refused() -> None:
    image = Image(coloured(), "YXC", units="rgb")
    assert "it looks endoscopic, not stained: please check" in assess_task_fit(image, TASKS["nuclei"]).note
    check_image_fits_task(image, TASKS["nuclei"])


def test_a_ct_that_is_known_by_its_values_is_told() -> None:
    image = Image(np.zeros((2, 8, 8), np.int16), "ZYX", units="HU", modality="CT")
    assert describe_import(image, LUNGS) == ("The file names no modality; by its values the image is a CT in HU.",)


def test_the_window_detects_no_task_that_the_header_rules_out() -> None:
    assert detect_task(film("DX", view="lateral"), TASKS["nuclei"]).name == "nuclei"
    assert detect_task(film("DX", body_part="HAND"), TASKS["nuclei"]).name == "nuclei"
    assert detect_task(film("DX", body_part="CHEST"), TASKS["nuclei"]).name == "lungs"
    microscope = Image(np.full((30, 40, 3), (200, 150, 190), np.uint8), "YXC", units="rgb", modality="GM")
    assert detect_task(microscope, LUNGS).name == "nuclei"
    cataract = Image(coloured(), "YXC", units="rgb", modality="GM")
    assert detect_task(cataract, LUNGS).name == "instruments"


def test_a_custom_task_is_for_the_modalities_of_its_kind() -> None:
    knee = make_custom_task("knee", ["bone"], kind="x-ray")
    assert not assess_task_fit(film("DX", body_part="KNEE", view="lateral"), knee).problem
    assert assess_task_fit(film("MR"), knee).problem
    grey = make_custom_task("vessels", ["vessel"], kind="grey")
    for modality in ("XA", "MR", "US", "NM"):
        assert not assess_task_fit(film(modality), grey).problem


@pytest.mark.parametrize(
    ("words", "region"),
    [
        ("CHEST", "chest"),
        ("Thorax^Routine", "chest"),
        ("CHESTABDPELVIS", "chest"),
        ("Tórax", "chest"),
        ("HEART", "chest"),
        ("CAP", "chest"),
        ("ABDOMENPELVIS", "trunk"),
        ("CSPINE", "trunk"),
        ("EAR", "elsewhere"),
        ("KNEE_LT", "elsewhere"),
        ("LKNEE", "elsewhere"),
        ("upper extremity", "elsewhere"),
        ("FOREARM", "elsewhere"),
        ("", ""),
        ("UNKNOWN", ""),
        ("CAPSULE", ""),
    ],
)
def test_body_regions_in_the_words_of_headers(words: str, region: str) -> None:
    assert find_body_region(words) == region


@pytest.mark.parametrize("view", ["lateral", "decubitus"])
def test_sides_of_a_forced_lateral_film_are_not_judged_by_their_place(view: str) -> None:
    labels = np.zeros((20, 20), np.uint8)
    labels[5:15, 2:8], labels[5:15, 12:18] = 2, 1  # as if exchanged
    pixels = np.random.default_rng(0).integers(0, 99, (20, 20)).astype(np.uint16)
    kinds = {}
    for each in (view, "frontal", ""):
        image = Image(pixels, "YX", modality="DX", acquisition=Acquisition(view=each))
        kinds[each] = {finding.kind for finding in check_labels(labels, LUNGS, image) if finding.blocking}
    assert kinds == {view: set(), "frontal": {"sides"}, "": {"sides"}}


def test_phase_images_of_mr_are_not_hu_by_their_values() -> None:
    rng = np.random.default_rng(0)
    for limit in (1000, 1800, 2048, 3142, 4096):
        noise = rng.integers(-limit, limit, (4, 64, 64)).astype(np.int16)
        assert not looks_like_hu(noise)
        masked = np.where(rng.random(noise.shape) < 0.3, noise, 0)
        assert not looks_like_hu(masked)
        assert not looks_like_hu(noise.astype(np.float32) * 0.9991)


def test_ct_is_hu_by_its_values_also_with_padding_noise_and_metal() -> None:
    rng = np.random.default_rng(0)
    ct = rng.normal(-990, 40, (4, 64, 64))
    ct[:, 16:48, 8:56] = rng.normal(40, 30, (4, 32, 48))
    ct[:, 20:40, 12:24] = rng.normal(-850, 60, (4, 20, 12))
    ct[:, 30, 30] = 3071
    assert looks_like_hu(ct.clip(-1024).astype(np.int16))
    assert looks_like_hu(ct.astype(np.float32))
    assert looks_like_hu(ct.clip(-1000, 1000).astype(np.int16))
    sharp = ct + rng.normal(0, 120, ct.shape)
    for volume in (ct, sharp):
        volume[:, :6] = -3024
        assert looks_like_hu(volume.astype(np.int16))


def test_the_bundled_ct_is_hu_by_its_values() -> None:
    volume = formats.read(SAMPLES / "ct_a0001" / "dicom")
    assert looks_like_hu(volume.pixels)
