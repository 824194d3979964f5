"""The same picture is known again however it was changed; neighbours are told apart, strangers are not taken for it."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from scipy import ndimage
from skimage.transform import resize

from napari_medseg.core import formats
from napari_medseg.core.image import Image
from napari_medseg.core.quality.image_fingerprint import Fingerprint, align_points, compute_fingerprint, may_align
from napari_medseg.core.quality.shared_content import Likeness, compute_similarity, find_shared_content

SAMPLES = Path(formats.__file__).parents[2] / "samples"
Change = Callable[[np.ndarray], np.ndarray]


@pytest.fixture(scope="module")
def xrays() -> list[Image]:
    return [formats.read(path) for path in sorted((SAMPLES / "xray" / "images").iterdir())[:10]]


@pytest.fixture(scope="module")
def prints(xrays: list[Image]) -> list[Fingerprint]:
    return [compute_fingerprint(image) for image in xrays]


def of(pixels: np.ndarray) -> Fingerprint:
    return compute_fingerprint(Image(pixels, "YX"))


def shrink(pixels: np.ndarray) -> np.ndarray:
    return resize(pixels.astype(np.float32), (200, 256), anti_aliasing=True)


def turn(pixels: np.ndarray) -> np.ndarray:
    return ndimage.rotate(pixels, 5, reshape=False, order=1)


CHANGES: dict[str, Change] = {
    "JPEG": lambda p: imagecodecs.jpeg_decode(imagecodecs.jpeg_encode(p, level=75)),
    "shift": lambda p: np.pad(p, ((4, 0), (4, 0)))[:-4, :-4],
    "crop": lambda p: p[10:-10, 10:-10],
    "mirror": lambda p: p[:, ::-1],
    "upside down": lambda p: p[::-1],
    "resize": shrink,
    "turn": turn,
    "window": lambda p: (255 * (p / 255) ** 0.7).astype(np.uint8),
    "bits": lambda p: p.astype(np.uint16) * 16,
    "all": lambda p: shrink(turn(p)[10:-10, 10:-10][:, ::-1]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found_among_others(change: str, xrays: list[Image], prints: list[Fingerprint]) -> None:
    found = find_shared_content([of(CHANGES[change](xrays[3].pixels))], prints)
    assert [(one.other, one.likeness) for one in found] == [(3, Likeness.COPY)]


def test_equal_images_and_a_plane_of_a_volume_are_identical() -> None:
    slices = [formats.read(path) for path in sorted((SAMPLES / "ct_a0001" / "dicom").iterdir())]
    volume = Image(np.stack([one.pixels for one in slices]), "ZYX")
    (found,) = find_shared_content([compute_fingerprint(slices[5])], [compute_fingerprint(volume)])
    assert (found.likeness, found.similarity, found.is_copy) == (Likeness.IDENTICAL, 1.0, True)
    exported = ((np.clip(slices[5].pixels, -1350, 150) + 1350) / 1500 * 255).astype(np.uint8)
    (found,) = find_shared_content([of(exported[:, ::-1])], [compute_fingerprint(volume)])
    assert found.likeness is Likeness.COPY


def test_other_patients_are_not_taken_for_it(prints: list[Fingerprint]) -> None:
    assert find_shared_content(prints[:5], prints[5:]) == []
    blank = of(np.zeros((40, 60), np.uint8))
    assert compute_similarity(blank, prints[0]) == 0.0
    assert find_shared_content([blank], [of(np.zeros((50, 60), np.uint8))]) == []
    assert find_shared_content([], prints) == find_shared_content(prints, []) == []


@pytest.mark.shared
def test_most_neighbouring_slices_are_the_same_place_and_no_copies(shared_data: Path) -> None:
    paths = sorted((shared_data / "lungs" / "lung_pet_ct_dx_A0001" / "dicom").iterdir())[10:50]
    slices = [compute_fingerprint(formats.read(path)) for path in paths]
    found = [find_shared_content([one], [other])[0].likeness for one, other in pairwise(slices)]
    assert found.count(Likeness.SAME_PLACE) > 0.9 * len(found)


def test_alignments_that_are_ruled_out_at_once_are_those_that_find_nothing(prints: list[Fingerprint]) -> None:
    rng = np.random.default_rng(0)
    ours, moved = prints[0].points[0].astype(np.float32), prints[0].points[0].astype(np.float32) * 1.1 + 3
    theirs = np.stack([moved, rng.permutation(moved), prints[1].points[0].astype(np.float32), moved])
    is_match = rng.random((4, len(ours))) < np.array([[0.8], [0.8], [0.8], [0.1]])
    may = may_align(ours, theirs, is_match)
    found = [align_points(ours[match], other[match]) is not None for other, match in zip(theirs, is_match, strict=True)]
    assert found[0]
    assert not found[1]
    assert all(may | ~np.array(found)), "nothing that aligns is ruled out"
    assert not may[3]
