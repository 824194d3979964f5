"""Axes of TIFF files: only a depth is a stack, and every Orientation is applied."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image as Picture
from PIL import ImageOps

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image

RANDOM = np.random.default_rng(0)
VOLUME = RANDOM.integers(0, 65535, (4, 12, 16)).astype(np.uint16)
COLOUR = RANDOM.integers(0, 255, (12, 16, 3)).astype(np.uint8)


def turn(orientation: int) -> dict[str, Any]:
    return {"extratags": [(274, 3, 1, orientation, False)], "metadata": None}


@pytest.mark.parametrize(
    "options",
    [
        {"metadata": None, "photometric": "minisblack"},
        {"photometric": "minisblack"},
        {"imagej": True, "metadata": {"axes": "ZYX"}},
        {"ome": True, "metadata": {"axes": "ZYX"}},
        {"photometric": "minisblack", "bigtiff": True, "byteorder": ">"},
        {"photometric": "minisblack", "tile": (16, 16), "compression": "zlib"},
    ],
)
def test_a_depth_or_pages_in_a_row_are_a_stack(tmp_path: Path, options: dict[str, Any]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", VOLUME, **options)
    image = formats.read(tmp_path / "a.tif")
    assert image.axes == "ZYX"
    np.testing.assert_array_equal(image.pixels, VOLUME)


@pytest.mark.parametrize(
    ("pixels", "options"),
    [
        (VOLUME[None, :, None], {"imagej": True, "metadata": {"axes": "TZCYX"}}),
        (VOLUME[None, None], {"ome": True, "metadata": {"axes": "TCZYX"}}),
        (VOLUME[None, :, None], {"ome": True, "metadata": {"axes": "TZCYX"}}),
    ],
)
def test_one_channel_and_one_time_point_are_dropped(tmp_path: Path, pixels: Any, options: dict[str, Any]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", pixels, **options)
    np.testing.assert_array_equal(formats.read(tmp_path / "a.tif").pixels, VOLUME)


@pytest.mark.parametrize(
    ("shape", "options", "what"),
    [
        ((2, 12, 16), {"imagej": True, "metadata": {"axes": "CYX"}}, "2 channels"),
        ((3, 12, 16), {"imagej": True, "metadata": {"axes": "CYX"}}, "3 channels"),
        ((4, 2, 12, 16), {"imagej": True, "metadata": {"axes": "ZCYX"}}, "2 channels"),
        ((2, 12, 16), {"ome": True, "metadata": {"axes": "CYX"}}, "2 channels"),
        ((3, 12, 16), {"ome": True, "photometric": "minisblack", "metadata": {"axes": "CYX"}}, "3 channels"),
        ((2, 4, 12, 16), {"ome": True, "metadata": {"axes": "CZYX"}}, "2 channels"),
        ((4, 12, 16), {"photometric": "minisblack", "metadata": {"axes": "HYX"}}, "4 steps along the axis 'lifetime'"),
        ((2, 3, 4, 5, 6), {"photometric": "minisblack"}, "5 dimensions"),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_channels_are_refused_by_name(
    tmp_path: Path, shape: tuple[int, ...], options: dict[str, Any], what: str, dtype: Any
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.ones(shape, dtype), **options)
    with pytest.raises(MedSegError, match=rf"a\.tif has {what}.*Save"):
        formats.read(tmp_path / "a.tif")


@pytest.mark.parametrize("options", [{"photometric": "rgb"}, {"ome": True, "photometric": "rgb"}, {"imagej": True}])
def test_a_colour_picture_is_no_stack(tmp_path: Path, options: dict[str, Any]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", COLOUR, **options)
    image = formats.read(tmp_path / "a.tif")
    assert image.axes == "YXC"
    np.testing.assert_array_equal(image.pixels, COLOUR)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["rgb", "planar", "grey", "palette"])
def test_every_orientation_is_applied_as_by_pillow(tmp_path: Path, kind: str, orientation: int) -> None:
    pixels = {"rgb": COLOUR, "planar": np.moveaxis(COLOUR, -1, 0).copy()}.get(kind, COLOUR[..., 0])
    options: dict[str, Any] = {
        "rgb": {"photometric": "rgb"},
        "planar": {"photometric": "rgb", "planarconfig": "separate"},
        "grey": {"photometric": "minisblack"},
        "palette": {"photometric": "palette", "colormap": RANDOM.integers(0, 65535, (3, 256)).astype(np.uint16)},
    }[kind]
    tifffile.imwrite(tmp_path / "a.tif", pixels, compression="zlib", **options, **turn(orientation))
    with Picture.open(tmp_path / "a.tif") as picture:
        expected = np.asarray(picture.convert("L" if kind == "grey" else "RGB"))
    image = formats.read(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.pixels, expected)
    labels = (image.pixels.reshape(*image.spatial_shape, -1)[..., 0] > 100).astype(np.uint8)
    formats.write_labels(tmp_path / "l.tif", labels, image)
    np.testing.assert_array_equal(formats.read_labels(tmp_path / "l.tif", image), labels)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "l.tif").shape, (12, 16))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_stack_is_turned_plane_by_plane_and_its_spacing_with_it(tmp_path: Path, orientation: int) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", VOLUME, photometric="minisblack", resolution=(20, 10), resolutionunit=3, **turn(orientation)
    )
    image = formats.read(tmp_path / "a.tif")
    for plane, shown in zip(VOLUME, image.pixels, strict=True):
        picture = Picture.fromarray(plane.astype(np.int32))
        picture.getexif()[274] = orientation
        np.testing.assert_array_equal(shown, np.asarray(ImageOps.exif_transpose(picture)))
    tifffile.imwrite(tmp_path / "b.tif", VOLUME[0], resolution=(20, 10), resolutionunit=3, **turn(orientation))
    assert formats.read(tmp_path / "b.tif").spacing_mm == ((1.0, 0.5) if orientation < 5 else (0.5, 1.0))


def test_an_orientation_that_means_nothing_changes_nothing(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", COLOUR, photometric="rgb", **turn(9))
    np.testing.assert_array_equal(formats.read(tmp_path / "a.tif").pixels, COLOUR)


def test_turned_labels_of_another_program_are_not_turned_twice(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", COLOUR, photometric="rgb", **turn(6))
    tifffile.imwrite(tmp_path / "l.tif", (COLOUR[..., 0] > 100).astype(np.uint8), **turn(6))
    image = formats.read(tmp_path / "a.tif")
    np.testing.assert_array_equal(formats.read_labels(tmp_path / "l.tif", image), image.pixels[..., 0] > 100)


def test_a_thumbnail_is_not_taken_for_the_image(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(VOLUME[0, ::2, ::2], metadata=None, subfiletype=1)
        tiff.write(VOLUME[0], metadata=None)
    np.testing.assert_array_equal(formats.read(tmp_path / "a.tif").pixels, VOLUME[0])


def test_a_pyramid_is_read_at_full_size(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(np.tile(COLOUR, (4, 4, 1)), metadata=None, photometric="rgb", subifds=1, tile=(16, 16))
        tiff.write(COLOUR, metadata=None, photometric="rgb", subfiletype=1)
    image: Image = formats.read(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.pixels, np.tile(COLOUR, (4, 4, 1)))
    assert not image.notes
