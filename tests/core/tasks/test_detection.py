"""Which task an image is for, by modality and by look, on the samples and on drawn pictures."""

from pathlib import Path

import numpy as np
import pytest

import napari_medseg
from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.tasks.bundled_tasks import TASKS
from napari_medseg.core.tasks.detection import (
    check_image_fits_task,
    detect_look,
    detect_task,
    image_fits_task,
    suggest_image_kind,
    task_is_meant_for,
)

SAMPLES = Path(napari_medseg.__file__).parent / "samples"


def colour(red: int, green: int, blue: int) -> Image:
    pixels = np.full((30, 40, 3), (red, green, blue), np.uint8)
    pixels[::2] += 3
    return Image(pixels, "YXC", units="rgb")


@pytest.mark.parametrize("path", sorted((SAMPLES / "nuclei_dsb" / "images").glob("*.png")), ids=lambda path: path.stem)
def test_tissue_is_taken_for_stained(path: Path) -> None:
    assert detect_look(formats.read(path)) == "stained"


@pytest.mark.parametrize("path", sorted((SAMPLES / "laparoscopy" / "images").glob("*.jpg")), ids=lambda path: path.stem)
def test_laparoscopy_is_taken_for_endoscopic(path: Path) -> None:
    assert detect_look(formats.read(path)) == "endoscopic"


def test_colours_decide_where_no_modality_is_known() -> None:
    assert detect_look(colour(200, 150, 190)) == "stained"
    assert detect_look(colour(150, 70, 60)) == "endoscopic"
    for level in (0, 2):
        black = Image(np.full((30, 40, 3), (level, 0, 0), np.uint8), "YXC", units="rgb")  # as videos begin, and JPEG
        assert detect_look(black) == "endoscopic"
    assert detect_look(colour(90, 140, 200)) == "endoscopic", "the blue screen of an operation room"
    assert detect_look(colour(90, 90, 90)) == "grey"
    assert detect_look(Image(np.zeros((8, 8), np.uint8), "YX")) == "grey"


@pytest.mark.parametrize(
    ("mean", "look"),
    [
        ((170, 83, 122), "stained"),  # two slides of MoNuSeg with much eosin, which were taken for endoscopy
        ((162, 80, 120), "stained"),
        ((220, 200, 225), "stained"),  # pale: little dye
        ((120, 74, 72), "endoscopic"),
        ((110, 76, 84), "endoscopic"),  # robotic surgery in bluish light
    ],
)
def test_dyes_absorb_green_most_and_mucosa_does_not(mean: tuple[int, int, int], look: str) -> None:
    assert detect_look(colour(*mean)) == look


@pytest.mark.shared
@pytest.mark.parametrize(
    ("folder", "look", "least"),
    [
        ("nuclei/monuseg/images", "stained", 1.0),
        ("nuclei/monusac/images", "stained", 1.0),
        ("instruments/images", "endoscopic", 0.97),
    ],
)
def test_real_images_of_a_kind_are_told(shared_data: Path, folder: str, look: str, least: float) -> None:
    files = sorted((shared_data / folder).iterdir())[::3]
    looks = [detect_look(formats.read(path)) for path in files if path.suffix in (".jpg", ".png")]
    assert looks.count(look) >= least * len(looks)


def test_the_modality_comes_before_the_look() -> None:
    x_ray = Image(np.zeros((8, 8), np.uint16), "YX", modality="DX")
    assert detect_task(x_ray, TASKS["nuclei"]).name == "lungs"
    assert task_is_meant_for(TASKS["lungs"], x_ray)
    assert not task_is_meant_for(TASKS["covid"], x_ray)


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        (Image(np.zeros((4, 4), np.int16), "YX", units="HU"), "ct"),
        (Image(np.zeros((2, 4, 4), np.int16), "ZYX", units="HU"), "ct"),
        (Image(np.zeros((4, 4), np.uint16), "YX", modality="MR"), "mr"),
        (Image(np.zeros((4, 4), np.uint16), "YX", modality="DX"), "x-ray"),
        (Image(np.zeros((4, 4), np.uint8), "YX", modality="US"), "ultrasound"),
        (Image(np.zeros((4, 4), np.uint8), "YX"), "grey"),
        (Image(np.zeros((4, 4), np.uint8), "YX", modality="PT"), "grey"),
        (colour(220, 150, 210), "histology"),
        (colour(120, 50, 40), "endoscopy"),
    ],
)
def test_a_new_task_is_for_images_like_the_open_one(image: Image, kind: str) -> None:
    assert suggest_image_kind(image) == kind


def test_the_task_in_hand_is_kept_where_it_fits() -> None:
    ct = Image(np.zeros((4, 8, 8), np.int16), "ZYX", units="HU", modality="CT")
    assert detect_task(ct, TASKS["covid"]).name == "covid"
    assert detect_task(ct, TASKS["nuclei"]).name == "lungs"


def test_what_fits_no_task_changes_nothing() -> None:
    ultrasound = Image(np.zeros((8, 8), np.uint8), "YX", modality="US")
    assert detect_task(ultrasound, TASKS["covid"]).name == "covid"


def test_a_task_takes_the_axes_that_it_names_and_colour_pictures_for_grey() -> None:
    planes, colour = Image(np.zeros((2, 4, 5)), "ZYX", name="ct"), Image(np.zeros((4, 5, 3)), "YXC", name="photo")
    assert image_fits_task(planes, TASKS["lungs"])
    assert image_fits_task(colour, TASKS["lungs"])
    assert not image_fits_task(planes, TASKS["nuclei"])
    check_image_fits_task(planes, TASKS["lungs"])
    with pytest.raises(MedSegError, match=r"ct has axes 'ZYX', but task 'nuclei' needs one of \['YX'.*Choose another"):
        check_image_fits_task(planes, TASKS["nuclei"])
