"""The bundled model of each task on the samples, none of which it learnt from unless a test says so."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from skimage.transform import rescale

import napari_medseg
from napari_medseg.core import formats
from napari_medseg.core.image import Image
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.core.quality.instance_metrics import compute_object_scores
from napari_medseg.core.quality.label_checks import check_labels
from napari_medseg.core.quality.metrics import compute_dice
from napari_medseg.core.tasks.bundled_tasks import TASKS
from napari_medseg.inference.batch_limits import BatchLimits
from napari_medseg.inference.predictor import Predictor
from napari_medseg.plugin.synthetic_lesions import draw_lesions

PACKAGE = Path(napari_medseg.__file__).parent
SAMPLES = PACKAGE / "samples"
TILE = SAMPLES / "nuclei_dsb" / "images" / "ad473063dab4bf4f.png"
FRAME = SAMPLES / "laparoscopy" / "images" / "00009-23254-frame-28698.jpg"
CT = SAMPLES / "ct_a0001" / "dicom" / "A0001_z031.dcm"


@cache
def predictor(task: str) -> Predictor:
    models = ModelRegistry(PACKAGE / "none", PACKAGE / "models")
    card = models.get_live_card(task)
    return Predictor.load(models.get_folder(card.id), "cpu", models.find_roi_folder(card))


def labels_of(task: str, image: Image) -> NDArray[np.unsignedinteger]:
    return predictor(task).predict_labels(image)


def lesion_slice() -> tuple[Image, NDArray[np.uint8]]:
    image = formats.read(CT)
    lungs = formats.read_labels(SAMPLES / "ct_a0001" / "labels" / "A0001_z031.tif", image)
    return draw_lesions(image, lungs)


def an_image_for(task: str) -> Image:
    if task == "covid":
        return lesion_slice()[0]
    return formats.read({"lungs": CT, "nuclei": TILE, "instruments": FRAME}[task])


def test_nuclei_of_an_unseen_tile_are_found_one_by_one() -> None:
    image = formats.read(TILE)
    reference = formats.read_labels(SAMPLES / "nuclei_dsb" / "labels" / f"{TILE.stem}.tif", image)
    scores = compute_object_scores(labels_of("nuclei", image), reference)
    assert scores.n_reference == 84  # many of them pale and out of focus
    assert 50 <= scores.n_predicted <= 90
    assert scores.aji > 0.42
    assert scores.pq > 0.43


def test_twice_the_magnification_finds_about_the_same_nuclei() -> None:
    image = formats.read(TILE)
    twice = rescale(image.pixels, 2, channel_axis=-1, preserve_range=True).round().astype(np.uint8)
    small, large = labels_of("nuclei", image), labels_of("nuclei", image.replace_pixels(twice))
    assert abs(int(large.max()) - int(small.max())) <= 0.25 * small.max()
    assert compute_dice(large[::2, ::2], small) > 0.85


def test_lesions_are_found_in_the_lungs_only() -> None:
    image, drawn = lesion_slice()
    assert [np.count_nonzero(drawn == value) for value in (1, 2)] == [8955, 1979]
    found = labels_of("covid", image)
    assert compute_dice(found, drawn) > 0.7
    assert np.mean(found[drawn == 1] > 0) > 0.7  # two fifths of it are called consolidation: see docs/models.md
    assert np.mean(drawn[found > 0] > 0) > 0.7
    healthy = labels_of("covid", formats.read(CT))
    assert np.count_nonzero(healthy) < 0.05 * np.count_nonzero(found)


def test_an_instrument_of_an_unseen_operation_is_found() -> None:
    labels = labels_of("instruments", formats.read(FRAME))
    assert labels[480, 320] == 1, "the shaft, left of the middle"
    assert 0.05 < np.mean(labels == 1) < 0.35
    assert not labels[:, :100].any(), "the black frame"


def test_an_xray_of_an_unseen_child_has_both_lungs_on_their_sides() -> None:
    names = [row.split(",")[0] for row in (SAMPLES / "xray" / "index.csv").read_text().splitlines() if "val" in row]
    figures = []
    for name in names[:4]:
        image = formats.read(SAMPLES / "xray" / "images" / f"{name}.jpg")
        reference = formats.read_labels(SAMPLES / "xray" / "labels" / f"{name}.png", image)
        found = labels_of("lungs", image)
        assert not [finding for finding in check_labels(found, TASKS["lungs"], image) if finding.blocking]
        figures += [compute_dice(found == value, reference == value) for value in (1, 2)]
    assert np.mean(figures) > 0.93


@pytest.mark.parametrize("task", ["lungs", "nuclei", "instruments"])
def test_a_mirrored_image_is_labelled_by_place_in_the_patient(task: str) -> None:
    image = an_image_for(task)
    mirrored = image.replace_pixels(np.ascontiguousarray(image.pixels[:, ::-1]))
    straight, turned = labels_of(task, image), labels_of(task, mirrored)
    if TASKS[task].sides:
        straight = np.array([0, 2, 1], np.uint8)[straight]
        assert not [finding for finding in check_labels(turned, TASKS[task], image) if finding.blocking]
    assert compute_dice(turned[:, ::-1], straight) > 0.85


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (40, 33)])
def test_tiny_and_empty_images_give_labels_of_their_shape(task: str, shape: tuple[int, int]) -> None:
    colour = "YXC" in TASKS[task].axes
    pixels = np.full((*shape, 3) if colour else shape, 90, np.uint8)
    labels = labels_of(task, Image(pixels, "YXC" if colour else "YX"))
    assert labels.shape == shape
    assert np.count_nonzero(labels) <= 0.5 * labels.size + 1


@pytest.mark.parametrize("task", ["nuclei", "instruments"])
@pytest.mark.parametrize("kind", ["16-bit", "float", "RGBA", "grey"])
def test_pictures_of_other_kinds_are_labelled_alike(task: str, kind: str, tmp_path: Path) -> None:
    image = an_image_for(task)
    rgb, path = image.pixels, tmp_path / "picture.tif"
    if kind == "16-bit":
        tifffile.imwrite(path, rgb.astype(np.uint16) * 257, photometric="rgb")
    elif kind == "float":
        tifffile.imwrite(path, rgb.astype(np.float32) / 255.0, photometric="rgb")
    elif kind == "RGBA":
        opaque = np.full((*rgb.shape[:2], 1), 255, np.uint8)
        tifffile.imwrite(path, np.concatenate([rgb, opaque], axis=-1), photometric="rgb", extrasamples=["unassalpha"])
    else:
        tifffile.imwrite(path, rgb.mean(axis=-1).astype(np.uint8))
    read = formats.read(path)
    labels = labels_of(task, read)
    assert labels.shape == read.spatial_shape
    assert compute_dice(labels, labels_of(task, image)) > (0.5 if kind == "grey" else 0.98)


@pytest.mark.parametrize("kind", ["8-bit", "float"])
def test_a_ct_is_labelled_alike_as_a_picture_and_as_numbers(kind: str, tmp_path: Path) -> None:
    image = formats.read(CT)
    shown = np.clip((image.pixels.astype(np.float32) + 1350) / 1500, 0, 1)
    path = tmp_path / "slice.tif"
    tifffile.imwrite(path, (shown * 255).astype(np.uint8) if kind == "8-bit" else shown)
    picture, numbers = labels_of("lungs", formats.read(path)), labels_of("lungs", image)
    assert min(compute_dice(picture == value, numbers == value) for value in (1, 2)) > 0.95


def test_the_same_tissue_whole_and_in_tiles_has_the_same_nuclei() -> None:
    pixels = np.tile(formats.read(TILE).pixels, (3, 2, 1))
    image = Image(np.ascontiguousarray(pixels), "YXC", units="rgb")
    one = predictor("nuclei")
    whole_limits, one.limits = (
        one.limits,
        BatchLimits(batch_px=300_000, max_untiled_px=1000, tile_px=512, overlap_px=112),
    )
    try:
        tiled = one.predict_labels(image)
    finally:
        one.limits = whole_limits
    scores = compute_object_scores(tiled, one.predict_labels(image))
    assert scores.aji > 0.95
    assert abs(scores.n_predicted - scores.n_reference) <= 0.03 * scores.n_reference


def test_bundled_models_are_as_small_as_promised() -> None:
    sizes = [path.stat().st_size for path in (PACKAGE / "models").glob("*/*/model.safetensors")]
    assert len(sizes) >= len(TASKS)
    assert max(sizes) <= 15e6
    assert sum(path.stat().st_size for path in (PACKAGE / "models").rglob("*.safetensors")) <= 40e6, "with statistics"
