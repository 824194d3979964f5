"""Samples are decoded into one array, however they lie in the file."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError

AIM = 1.3
TILE = (128, 128)
STORED: dict[str, dict[str, Any]] = {
    "plain": {},
    "tiled": {"tile": TILE},
    "compressed": {"compression": "zlib"},
    "compressed tiles with a predictor": {"compression": "zlib", "tile": TILE, "predictor": True},
    "big-endian": {"byteorder": ">"},
}


def make_noise(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, shape, dtype)


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(150, 201, 3), (3, 150, 201, 3)], ids=["plane", "pages"])
def test_separate_planes_are_read_as_interleaved_ones(
    stored: str, dtype: type, shape: tuple[int, ...], tmp_path: Path
) -> None:
    pixels = make_noise(*shape, dtype=dtype)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.moveaxis(pixels, -1, -3), photometric="rgb", planarconfig="separate", **STORED[stored])
    np.testing.assert_array_equal(formats.read(path).pixels, pixels)


@pytest.mark.parametrize(
    ("stored", "lies"),
    [
        ("plain", "interleaved"),
        ("plain", "separate"),
        ("tiled", "interleaved"),
        ("compressed", "pages"),
        ("compressed tiles with a predictor", "separate"),
        ("big-endian", "pages"),
    ],
)
def test_reading_takes_little_more_than_the_pixels(stored: str, lies: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    if lies == "pages":
        tifffile.imwrite(path, make_noise(48, 1024, 512, dtype=np.uint16), photometric="minisblack", **STORED[stored])
    else:
        pixels = make_noise(2900, 2900, 3)
        pixels = np.moveaxis(pixels, -1, 0) if lies == "separate" else pixels
        planes = {"planarconfig": "separate"} if lies == "separate" else {}
        tifffile.imwrite(path, pixels, photometric="rgb", **planes, **STORED[stored])
    tracemalloc.start()
    image = formats.read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < AIM * image.pixels.nbytes


def test_a_tile_larger_than_the_image_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, make_noise(40, 48), tile=(16, 16), compression="zlib")
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tags = tiff.pages.first.tags
        for name in ("TileWidth", "TileLength"):
            tags[name].overwrite(60_000, dtype="I")
    with pytest.raises(MedSegError, match=r"would take 3\.6 GB"):
        formats.read(path)
