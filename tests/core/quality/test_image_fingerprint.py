"""The same picture is known again; neighbours and strangers are not taken for it."""

from itertools import pairwise
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from skimage.transform import resize

from napari_medseg.core import formats
from napari_medseg.core.image import Image
from napari_medseg.core.quality.image_fingerprint import (
    MIN_DUPLICATE_SIMILARITY,
    compute_fingerprint,
    compute_similarity,
)

SAMPLES = Path(formats.__file__).parents[2] / "samples"


def xray() -> Image:
    return formats.read(sorted((SAMPLES / "xray" / "images").iterdir())[0])


def of(pixels: np.ndarray) -> Image:
    return Image(pixels, "YX")


def test_the_same_picture_is_known_in_other_clothes() -> None:
    image = xray()
    grey = image.pixels.astype(np.float32)
    as_jpeg = imagecodecs.jpeg_decode(imagecodecs.jpeg_encode(image.pixels, level=75))
    half = resize(grey, (grey.shape[0] // 2, grey.shape[1] // 2), anti_aliasing=True)
    original = compute_fingerprint(image)
    for other in (as_jpeg, half, (255 * (grey / 255) ** 0.7).astype(np.uint8), image.pixels.astype(np.uint16) * 16):
        assert compute_similarity(original, compute_fingerprint(of(other))) > MIN_DUPLICATE_SIMILARITY


def test_equal_values_are_equal_whatever_their_type_and_spacing() -> None:
    image = xray()
    again = Image(image.pixels.astype(np.int16), "YX", spacing_mm=(0.5, 0.5))
    assert again.content_hash != image.content_hash
    assert compute_fingerprint(again).digest == compute_fingerprint(image).digest


def test_a_slice_is_found_in_its_volume_in_another_window() -> None:
    slices = [formats.read(path) for path in sorted((SAMPLES / "ct_a0001" / "dicom").iterdir())]
    volume = Image(np.stack([one.pixels for one in slices]), "ZYX")
    exported = ((np.clip(slices[5].pixels, -1350, 150) + 1350) / 1500 * 255).astype(np.uint8)
    assert compute_similarity(compute_fingerprint(volume), compute_fingerprint(of(exported))) > MIN_DUPLICATE_SIMILARITY


def test_other_pictures_are_not_taken_for_it() -> None:
    prints = [compute_fingerprint(formats.read(path)) for path in sorted((SAMPLES / "xray" / "images").iterdir())]
    assert max(compute_similarity(one, other) for one, other in pairwise(prints)) < 0.5
    blank = compute_fingerprint(of(np.zeros((40, 60), np.uint8)))
    assert compute_similarity(blank, prints[0]) == 0.0
    assert compute_similarity(blank, compute_fingerprint(of(np.zeros((50, 60), np.uint8)))) == 0.0


@pytest.mark.shared
def test_neighbouring_slices_of_a_ct_are_no_duplicates(shared_data: Path) -> None:
    paths = sorted((shared_data / "lungs" / "lung_pet_ct_dx_A0001" / "dicom").iterdir())
    prints = [compute_fingerprint(formats.read(path)) for path in paths]
    assert max(compute_similarity(one, other) for one, other in pairwise(prints)) < MIN_DUPLICATE_SIMILARITY - 0.03
