"""What a fingerprint keeps of an image."""

from pathlib import Path

import numpy as np

from napari_medseg.core import formats
from napari_medseg.core.image import Image
from napari_medseg.core.quality.image_fingerprint import MAX_PLANES, compute_fingerprint

SAMPLES = Path(formats.__file__).parents[2] / "samples"


def test_equal_values_are_equal_whatever_their_type_and_spacing() -> None:
    image = formats.read(sorted((SAMPLES / "xray" / "images").iterdir())[0])
    again = Image(image.pixels.astype(np.int16), "YX", spacing_mm=(0.5, 0.5))
    assert again.content_hash != image.content_hash
    assert compute_fingerprint(again).digest == compute_fingerprint(image).digest


def test_a_volume_has_a_digest_of_each_plane_and_the_structure_of_some() -> None:
    rng = np.random.default_rng(0)
    volume = compute_fingerprint(Image(rng.integers(0, 200, (MAX_PLANES + 9, 20, 30)), "ZYX"))
    assert (len(volume.plane_digests), len(volume.planes)) == (MAX_PLANES + 9, MAX_PLANES)


def test_an_image_without_structure_has_no_features() -> None:
    blank = compute_fingerprint(Image(np.full((40, 60), 7, np.uint8), "YX"))
    assert not blank.features.any()
    assert not blank.planes.any()
