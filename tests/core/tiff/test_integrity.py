"""Incomplete TIFF files are refused: missing strips and tiles, failed checksums, pages that do not belong together."""

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError

PIXELS = np.random.default_rng(0).integers(0, 65535, (64, 48)).astype(np.uint16)
STRIPS = {"strip": {"rowsperstrip": 16}, "tile": {"tile": (16, 16)}}
OFFSETS = {"strip": 273, "tile": 324}
COUNTS = {"strip": 279, "tile": 325}


@pytest.mark.parametrize("part", STRIPS)
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("lost", ["offset", "byte count"])
def test_a_missing_strip_or_tile_is_refused(
    tmp_path: Path, part: str, compression: str | None, byteorder: Any, lost: str
) -> None:
    path = tmp_path / "a.tif"
    options: dict[str, Any] = {"compression": compression, "byteorder": byteorder, "metadata": None}
    tifffile.imwrite(path, PIXELS, **STRIPS[part], **options)
    np.testing.assert_array_equal(formats.read(path).pixels, PIXELS)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tag = tiff.pages.first.tags[(OFFSETS if lost == "offset" else COUNTS)[part]]
        values = list(tag.value)
        values[1] = 0
        tag.overwrite(values)
    with pytest.raises(MedSegError, match=rf"a\.tif is truncated or damaged: {part} 2 of \d+ on page 1 is missing"):
        formats.read(path)


def test_too_few_strips_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", PIXELS, rowsperstrip=16, compression="zlib", metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as tiff:
        for tag in (273, 279):
            tiff.pages.first.tags[tag].overwrite(list(tiff.pages.first.tags[tag].value)[:3])
    with pytest.raises(MedSegError, match="strip 4 of 4 on page 1 is missing"):
        formats.read(tmp_path / "a.tif")


@pytest.mark.filterwarnings("ignore")
def test_a_flipped_bit_in_compressed_pixels_is_refused_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PIXELS // 256, rowsperstrip=16, compression="zlib", metadata=None)
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        place, length = page.dataoffsets[1], page.databytecounts[1]
    whole = path.read_bytes()
    for n in range(0, length, max(1, length // 60)):
        damaged = bytearray(whole)
        damaged[place + n] ^= 1 << (n % 8)
        path.write_bytes(damaged)
        with contextlib.suppress(MedSegError):
            np.testing.assert_array_equal(formats.read(path).pixels, PIXELS // 256)


def write_pages(path: Path, *pages: dict[str, Any]) -> None:
    with tifffile.TiffWriter(path) as tiff:
        for options in pages:
            tiff.write(PIXELS.astype(np.uint8), metadata=None, contiguous=False, **options)


def palette(seed: int) -> dict[str, Any]:
    values = np.random.default_rng(seed).integers(0, 65535, (3, 256)).astype(np.uint16)
    return {"photometric": "palette", "colormap": values}


@pytest.mark.parametrize(
    ("pages", "what"),
    [
        ([{}, {"extratags": [(274, 3, 1, 3, False)]}, {}], "another Orientation"),
        ([palette(0), palette(0), palette(1)], "another palette"),
        ([{}, {"photometric": "miniswhite"}, {}], "another size or kind"),
    ],
)
def test_pages_that_mean_different_things_are_no_stack(tmp_path: Path, pages: list[dict[str, Any]], what: str) -> None:
    write_pages(tmp_path / "a.tif", *pages)
    with pytest.raises(MedSegError, match=what):
        formats.read(tmp_path / "a.tif")


def test_pages_that_mean_the_same_are_a_stack(tmp_path: Path) -> None:
    write_pages(tmp_path / "a.tif", palette(0), palette(0), palette(0))
    assert formats.read(tmp_path / "a.tif").axes == "ZYXC"


def test_a_part_of_an_ome_image_in_another_file_is_missed(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.ome.tif", PIXELS, ome=True, metadata={"axes": "YX"})
    content = (tmp_path / "a.ome.tif").read_bytes().replace(b'SizeZ="1"', b'SizeZ="3"')
    (tmp_path / "a.ome.tif").write_bytes(content)
    with pytest.raises(MedSegError, match="page 2 is missing"):
        formats.read(tmp_path / "a.ome.tif")


@pytest.mark.parametrize("back_to", [0, 1])
def test_pages_in_a_circle_are_refused_at_once(tmp_path: Path, back_to: int) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.stack([PIXELS] * 3), metadata=None, photometric="minisblack")
    with tifffile.TiffFile(path) as tiff:
        begins = [page.offset for page in tiff.pages]
        n_tags = len(tiff.pages[2].tags)
    content = bytearray(path.read_bytes())
    end = begins[2] + 2 + 12 * n_tags
    assert content[end : end + 4] == bytes(4)
    content[end : end + 4] = begins[back_to].to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(MedSegError, match="after page 3 its pages begin again, in a circle"):
        formats.read(path)
