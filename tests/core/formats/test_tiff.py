"""TIFF: planes and stacks that keep their voxel size, whoever wrote it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image


def grey(shape: tuple[int, ...], dtype: Any = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32, np.uint32, np.int32])
@pytest.mark.parametrize(
    ("axes", "shape", "spacing"),
    [("YX", (5, 6), (0.84, 0.71)), ("ZYX", (4, 5, 6), (2.5, 0.84, 0.71)), ("ZYX", (4, 5, 6), None)],
)
def test_image_comes_back_as_it_was(
    tmp_path: Path, axes: str, shape: tuple[int, ...], spacing: Any, dtype: Any
) -> None:
    affine = None if spacing is None else np.diag([1.0, -2.0, 3.0, 1.0])[:, [2, 1, 0, 3]] + 0.125
    image = Image(grey(shape, dtype), axes, spacing, affine, modality="CT", units="HU")
    formats.write_image(tmp_path / "a.tif", image)
    back = formats.read(tmp_path / "a.tif")
    np.testing.assert_array_equal(back.pixels, image.pixels)
    assert back.content_hash == image.content_hash
    assert (back.axes, back.spacing_mm, back.modality, back.units) == (axes, spacing, "CT", "HU")
    assert (back.affine is None) == (affine is None)
    assert affine is None or back.affine.tobytes() == affine.tobytes()


@pytest.mark.parametrize("axes", ["YXC", "ZYXC"])
def test_colour_comes_back_as_it_was(tmp_path: Path, axes: str) -> None:
    image = Image(grey((4, 5, 6, 3)[4 - len(axes) :]), axes, units="rgb")
    formats.write_image(tmp_path / "a.tif", image)
    back = formats.read(tmp_path / "a.tif")
    np.testing.assert_array_equal(back.pixels, image.pixels)
    assert (back.axes, back.units) == (axes, "rgb")


def test_other_programs_find_the_voxel_size(tmp_path: Path) -> None:
    image = Image(grey((4, 5, 6)), "ZYX", (2.5, 0.8, 0.7))
    formats.write_labels(tmp_path / "l.tif", image.pixels, image)
    with tifffile.TiffFile(tmp_path / "l.tif") as tiff:
        assert tiff.is_imagej
        assert tiff.imagej_metadata["spacing"] == 2.5
        assert tiff.imagej_metadata["unit"] == "mm"
        x, y = (tiff.pages[0].tags[name].value for name in ("XResolution", "YResolution"))
    assert x[1] / x[0] == pytest.approx(0.7, rel=1e-6)
    assert y[1] / y[0] == pytest.approx(0.8, rel=1e-6)


def test_imagej_voxel_size(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif",
        grey((4, 5, 6)),
        imagej=True,
        resolution=(2, 4),
        metadata={"axes": "ZYX", "spacing": 3, "unit": "um"},
    )
    image = formats.read(tmp_path / "a.tif")
    assert image.spacing_mm == pytest.approx((0.003, 0.00025, 0.0005))


def test_ome_voxel_size(tmp_path: Path) -> None:
    metadata = {
        "axes": "ZYX",
        "PhysicalSizeX": 0.7,
        "PhysicalSizeXUnit": "mm",
        "PhysicalSizeY": 800,
        "PhysicalSizeYUnit": "µm",
        "PhysicalSizeZ": 2500.0,
    }
    tifffile.imwrite(tmp_path / "a.ome.tif", grey((4, 5, 6)), ome=True, metadata=metadata)
    image = formats.read(tmp_path / "a.ome.tif")
    assert image.spacing_mm == pytest.approx((2.5, 0.8, 0.7))
    assert image.name == "a"


@pytest.mark.parametrize(
    ("unit", "resolution", "spacing"),
    [
        ("CENTIMETER", (20, 10), (1.0, 0.5)),
        ("INCH", (25.4 / 0.7, 25.4 / 0.8), (0.8, 0.7)),
        ("INCH", (72, 72), None),
        ("INCH", (300, 300), None),
        ("NONE", (20, 10), None),
    ],
)
def test_resolution_tags(tmp_path: Path, unit: str, resolution: tuple[float, float], spacing: Any) -> None:
    tifffile.imwrite(tmp_path / "a.tif", grey((5, 6)), resolution=resolution, resolutionunit=unit, metadata=None)
    found = formats.read(tmp_path / "a.tif").spacing_mm
    assert found == (None if spacing is None else pytest.approx(spacing, rel=1e-5))


def test_pages_are_slices_and_single_steps_are_dropped(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "pages.tif", grey((4, 5, 6)), metadata=None, photometric="minisblack")
    assert formats.read(tmp_path / "pages.tif").axes == "ZYX"
    tifffile.imwrite(tmp_path / "single.ome.tif", grey((1, 4, 1, 5, 6)), metadata={"axes": "TZCYX"})
    image = formats.read(tmp_path / "single.ome.tif")
    assert image.axes == "ZYX"
    np.testing.assert_array_equal(image.pixels, grey((1, 4, 1, 5, 6))[0, :, 0])
    tifffile.imwrite(tmp_path / "one_row.tif", grey((4, 1, 6)), photometric="minisblack")
    assert formats.read(tmp_path / "one_row.tif").pixels.shape == (4, 1, 6)


def test_rgb_with_equal_channels_is_grey(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.repeat(grey((5, 6, 1)), 3, axis=2), photometric="rgb")
    image = formats.read(tmp_path / "a.tif")
    assert (image.axes, image.units) == ("YX", "grey")


def test_planar_colour(tmp_path: Path) -> None:
    colour = grey((3, 5, 6))
    tifffile.imwrite(tmp_path / "a.tif", colour, photometric="rgb", planarconfig="separate")
    image = formats.read(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.pixels, colour.transpose(1, 2, 0))
    assert (image.axes, image.units) == ("YXC", "rgb")


def test_transparency_is_dropped(tmp_path: Path) -> None:
    colour = grey((5, 6, 4))
    tifffile.imwrite(tmp_path / "a.tif", colour, photometric="rgb", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(formats.read(tmp_path / "a.tif").pixels, colour[..., :3])


def test_black_and_white_and_byte_order(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "bw.tif", grey((5, 8)) > 100, photometric="minisblack")
    np.testing.assert_array_equal(formats.read(tmp_path / "bw.tif").pixels, (grey((5, 8)) > 100) * 255)
    tifffile.imwrite(tmp_path / "big.tif", grey((5, 6), np.uint16), byteorder=">")
    image = formats.read(tmp_path / "big.tif")
    assert image.pixels.dtype.isnative
    np.testing.assert_array_equal(image.pixels, grey((5, 6)))


def test_signed_ct_is_taken_for_hu(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", grey((5, 6), np.int16) * 10 - 1000)
    assert formats.read(tmp_path / "a.tif").units == "HU"


def test_nan_is_refused(tmp_path: Path) -> None:
    values = grey((5, 6), np.float32)
    values[0, 0] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", values)
    with pytest.raises(MedSegError, match="1 values that are NaN"):
        formats.read(tmp_path / "a.tif")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize(
    "kind",
    [
        {"ome": True, "metadata": {"axes": "ZYX"}},
        {"imagej": True, "metadata": {"axes": "ZYX"}},
        {},
        {"metadata": None},
        {"bigtiff": True},
    ],
)
def test_a_truncated_stack_never_becomes_a_shorter_one(tmp_path: Path, kind: dict[str, Any], compression: Any) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", grey((6, 20, 30), np.uint16), photometric="minisblack", compression=compression, **kind
    )
    whole = (tmp_path / "a.tif").read_bytes()
    assert formats.read(tmp_path / "a.tif").pixels.shape == (6, 20, 30)
    for n in range(0, len(whole) - 1, 97):
        (tmp_path / "a.tif").write_bytes(whole[:n])
        with pytest.raises(MedSegError):
            formats.read(tmp_path / "a.tif")


def test_several_pictures_in_one_file_are_told(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(grey((5, 6)), metadata=None)
        tiff.write(grey((7, 9)), metadata=None)
    image = formats.read(tmp_path / "a.tif")
    assert image.pixels.shape == (5, 6)
    assert "2 images" in image.notes[0]
