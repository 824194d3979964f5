"""Voxel sizes of TIFF files that are not ImageJ, OME or ours: slides, and resolutions that are those of a printer."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_medseg.core import formats

PIXELS = np.random.default_rng(0).integers(0, 255, (32, 48, 3)).astype(np.uint8)
APERIO = "Aperio Image Library v10.0.51\n48x32 [0,0 48x32] (16x16) JPEG/RGB Q=30|AppMag = 40|{mpp}|Left = 25.6"


@pytest.mark.parametrize(
    ("mpp", "spacing"),
    [
        ("MPP = 0.25", 0.00025),
        ("MPP = 0.2525", 0.0002525),
        ("MPP=0.5", 0.0005),
        ("MPP = 0,25", 0.00025),
        ("MPP = 0", None),
        ("no", None),
    ],
)
def test_a_slide_has_the_spacing_of_its_description(tmp_path: Path, mpp: str, spacing: float | None) -> None:
    path = tmp_path / "a.svs"
    tifffile.imwrite(path, PIXELS, photometric="rgb", tile=(16, 16), description=APERIO.format(mpp=mpp), metadata=None)
    image = formats.read(path)
    assert image.spacing_mm == (None if spacing is None else pytest.approx((spacing, spacing)))
    np.testing.assert_array_equal(image.pixels, PIXELS)
    assert formats.can_read(path)
    assert [source.name for source in formats.find_images(tmp_path)] == ["a.svs"]


@pytest.mark.parametrize(
    ("unit", "per_unit", "spacing"),
    [
        ("INCH", (72, 72), None),
        ("INCH", (300, 300), None),
        ("INCH", (1, 1), None),
        ("CENTIMETER", (28.35, 28.35), None),
        ("CENTIMETER", (37.8, 37.8), None),
        ("CENTIMETER", (118.11, 118.11), None),
        ("CENTIMETER", (1, 1), None),
        ("CENTIMETER", (40000, 40000), (0.00025, 0.00025)),
        ("INCH", (25.4, 50.8), (0.5, 1.0)),
        ("INCH", (72, 50.8), (0.5, 25.4 / 72)),
    ],
)
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_a_printer_resolution_is_no_pixel_size(
    tmp_path: Path, unit: str, per_unit: tuple[float, float], spacing: Any, byteorder: Any
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, PIXELS, photometric="rgb", resolution=per_unit, resolutionunit=unit, metadata=None, byteorder=byteorder
    )
    found = formats.read(path).spacing_mm
    assert found == (None if spacing is None else pytest.approx(spacing, rel=1e-5))


def test_imagej_axes_may_have_units_of_their_own(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif",
        PIXELS[..., :2].transpose(2, 0, 1).copy(),
        imagej=True,
        resolution=(2, 2),
        metadata={"axes": "ZYX", "spacing": 2, "unit": "um", "zunit": "mm"},
    )
    assert formats.read(tmp_path / "a.tif").spacing_mm == pytest.approx((2.0, 0.0005, 0.0005))
