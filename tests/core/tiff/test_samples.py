"""Samples are decoded into one array, however they lie in the file."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_medseg.core import formats
from napari_medseg.core.decoded_size.limit import allow_memory
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.tiff.samples import compute_sample_bytes

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
    with pytest.raises(MedSegError, match=r"would take .* GB"):
        formats.read(path)


def test_tiles_beyond_the_image_count_as_often_as_they_are_decoded_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tifffile.TIFF, "MAXWORKERS", 4)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((16, 4096, 4096), np.uint8), compression="zlib", tile=(4096, 4096), metadata=None)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        for page in tiff.pages:
            for name in ("ImageWidth", "ImageLength"):
                page.aspage().tags[name].overwrite(16)
    with tifffile.TiffFile(path) as tiff:
        assert compute_sample_bytes(tiff.series[0]) == 4 * 4096**2
    with allow_memory(2**20), pytest.raises(MedSegError, match=r"would take 67\.1 MB"):
        formats.read(path)


def test_a_tile_of_separate_planes_is_not_kept_until_all_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tifffile.TIFF, "MAXWORKERS", 2)
    path = tmp_path / "a.tif"
    pixels = np.zeros((3, 100, 1000), np.uint8)
    tifffile.imwrite(path, pixels, photometric="rgb", planarconfig="separate", compression="zlib", tile=(2048, 16))
    tracemalloc.start()
    formats.read(path)  # 189 tiles of 33 KB, 6 MB together
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * pixels.nbytes
