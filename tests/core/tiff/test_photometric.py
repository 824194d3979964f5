"""Colours of TIFF files: equal to Pillow's where Pillow converts, and refused by name elsewhere."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image as Picture

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError

RANDOM = np.random.default_rng(0)
PALETTE = RANDOM.integers(0, 65535, (3, 256)).astype(np.uint16)
GREY_PALETTE = np.tile(np.arange(256, dtype=np.uint16) * 257, (3, 1))


def noise(*shape: int, dtype: Any = np.uint8) -> NDArray[Any]:
    return RANDOM.integers(0, np.iinfo(dtype).max, shape).astype(dtype)


def smooth_colours() -> NDArray[np.uint8]:
    ramp = np.add.outer(np.arange(32) * 2, np.arange(48)).astype(np.uint8)
    return np.stack([ramp, ramp[::-1], ramp[:, ::-1]], axis=-1)


def planar(pixels: NDArray[Any]) -> NDArray[Any]:
    return np.moveaxis(pixels, -1, 0).copy()


def read_with_pillow(path: Path) -> NDArray[Any]:
    """Grey as it is, everything else as RGB; colours that are all equal as grey."""
    with Picture.open(path) as picture:
        if picture.mode in ("L", "I", "I;16", "I;16B", "F"):
            return np.asarray(picture)
        if picture.mode == "1":
            return np.asarray(picture).astype(np.uint8) * np.uint8(255)
        if picture.mode in ("LA", "La"):
            return np.asarray(picture.convert("LA"))[..., 0]
        rgb = np.asarray(picture.convert("RGB"))
    return rgb[..., 0] if (rgb == rgb[..., :1]).all() else rgb


READ = {
    "rgb": (noise(12, 16, 3), {"photometric": "rgb"}),
    "planar rgb": (planar(noise(12, 16, 3)), {"photometric": "rgb", "planarconfig": "separate"}),
    "planar rgb in big-endian tiles": (
        planar(noise(40, 48, 3)),
        {"photometric": "rgb", "planarconfig": "separate", "tile": (16, 16), "compression": "lzw", "byteorder": ">"},
    ),
    "alpha": (noise(12, 16, 4), {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
    "multiplied by alpha": (noise(12, 16, 4), {"photometric": "rgb", "extrasamples": ["assocalpha"]}),
    "planar alpha": (
        planar(noise(12, 16, 4)),
        {"photometric": "rgb", "planarconfig": "separate", "extrasamples": ["unassalpha"]},
    ),
    "a fourth sample": (noise(12, 16, 4), {"photometric": "rgb", "extrasamples": ["unspecified"]}),
    "two more samples": (noise(12, 16, 5), {"photometric": "rgb", "extrasamples": ["unspecified"] * 2}),
    "grey and alpha": (
        noise(12, 16, 2),
        {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": ["unassalpha"]},
    ),
    "grey multiplied by alpha": (
        noise(12, 16, 2),
        {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": ["assocalpha"]},
    ),
    "white is zero": (noise(12, 16), {"photometric": "miniswhite"}),
    "white is zero, compressed": (noise(12, 16), {"photometric": "miniswhite", "compression": "zlib"}),
    "white is zero, 1 bit": (noise(12, 16) > 100, {"photometric": "miniswhite"}),
    "black is zero, 1 bit": (noise(12, 16) > 100, {"photometric": "minisblack"}),
    "palette": (noise(12, 16), {"photometric": "palette", "colormap": PALETTE}),
    "compressed palette": (noise(12, 16), {"photometric": "palette", "colormap": PALETTE, "compression": "lzw"}),
    "grey palette": (noise(12, 16), {"photometric": "palette", "colormap": GREY_PALETTE}),
    "cmyk": (noise(12, 16, 4), {"photometric": "separated"}),
    "cmyk of 16 bits": (noise(12, 16, 4, dtype=np.uint16), {"photometric": "separated"}),
    "planar cmyk": (planar(noise(12, 16, 4)), {"photometric": "separated", "planarconfig": "separate"}),
    "ycbcr in jpeg": (smooth_colours(), {"photometric": "rgb", "compression": "jpeg"}),
    "subsampled ycbcr in jpeg": (
        smooth_colours(),
        {"photometric": "rgb", "compression": "jpeg", "subsampling": (2, 2)},
    ),
    "rgb in jpeg": (
        smooth_colours(),
        {"photometric": "rgb", "compression": "jpeg", "compressionargs": {"outcolorspace": "rgb"}},
    ),
    "ycbcr": (noise(12, 16, 3), {"photometric": "ycbcr", "subsampling": (1, 1)}),
    "predictor": (noise(12, 16, dtype=np.uint16), {"predictor": True, "compression": "zlib"}),
    "big-endian": (noise(12, 16, dtype=np.uint16), {"byteorder": ">"}),
}


@pytest.mark.parametrize("kind", READ)
def test_colours_are_those_of_pillow(tmp_path: Path, kind: str) -> None:
    pixels, options = READ[kind]
    tifffile.imwrite(tmp_path / "a.tif", pixels, **options)
    image = formats.read(tmp_path / "a.tif")
    expected = read_with_pillow(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.pixels, expected)
    assert image.axes == ("YX" if expected.ndim == 2 else "YXC")


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_files_of_pillow(tmp_path: Path, mode: str, compression: str | None) -> None:
    picture = Picture.fromarray(smooth_colours()).convert(mode)
    picture.save(tmp_path / "a.tif", compression=compression)
    if mode == "YCbCr" and compression:  # libtiff rounds these in its own way
        with pytest.raises(MedSegError, match="YCbCr that is subsampled or compressed"):
            formats.read(tmp_path / "a.tif")
        return
    np.testing.assert_array_equal(formats.read(tmp_path / "a.tif").pixels, read_with_pillow(tmp_path / "a.tif"))


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("photometric", [0, 1])
def test_two_and_four_bits_are_spread_over_all_grey_values_but_labels_keep_them(
    tmp_path: Path, bits: int, photometric: int
) -> None:
    numbers = RANDOM.integers(0, 2**bits, (12, 16))
    write_packed(tmp_path / "a.tif", numbers, bits, photometric)
    np.testing.assert_array_equal(formats.read(tmp_path / "a.tif").pixels, read_with_pillow(tmp_path / "a.tif"))
    if photometric == 1:
        np.testing.assert_array_equal(formats.read_labels(tmp_path / "a.tif"), numbers)


def write_packed(path: Path, numbers: NDArray[Any], bits: int, photometric: int) -> None:
    rows = ["".join(format(int(number), f"0{bits}b") for number in row) for row in numbers]
    data = b"".join(int(row, 2).to_bytes(len(row) // 8, "big") for row in rows)
    height, width = numbers.shape
    shorts = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 277: 1, 278: height}
    tags = sorted([(tag, 3, 1, value) for tag, value in shorts.items()] + [(273, 4, 1, 8), (279, 4, 1, len(data))])
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory)


def test_white_is_zero_of_16_bits_is_inverted(tmp_path: Path) -> None:
    pixels = noise(12, 16, dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="miniswhite")
    np.testing.assert_array_equal(formats.read(tmp_path / "a.tif").pixels, 65535 - pixels)


@pytest.mark.parametrize("order", ["contig", "separate"])
def test_colours_of_16_bits_are_kept(tmp_path: Path, order: str) -> None:
    pixels = noise(12, 16, 3, dtype=np.uint16)
    written = pixels if order == "contig" else planar(pixels)
    tifffile.imwrite(tmp_path / "a.tif", written, photometric="rgb", planarconfig=order)
    np.testing.assert_array_equal(formats.read(tmp_path / "a.tif").pixels, pixels)


def test_a_stack_of_colours_is_converted_plane_by_plane(tmp_path: Path) -> None:
    pixels = noise(4, 12, 16, 3)
    planes = np.moveaxis(pixels, -1, 1).copy()
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric="rgb", planarconfig="separate", metadata=None)
    image = formats.read(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.pixels, pixels)
    assert image.axes == "ZYXC"
    numbers = noise(4, 12, 16)
    tifffile.imwrite(tmp_path / "p.tif", numbers, photometric="palette", colormap=PALETTE, metadata=None)
    np.testing.assert_array_equal(formats.read(tmp_path / "p.tif").pixels, np.moveaxis(PALETTE >> 8, 0, 1)[numbers])


def test_samples_of_unknown_meaning_are_told(tmp_path: Path) -> None:
    pixels, options = READ["a fourth sample"]
    tifffile.imwrite(tmp_path / "a.tif", pixels, **options)
    assert "1 more samples of unknown meaning" in formats.read(tmp_path / "a.tif").notes[0]


def test_float_colours_are_kept_as_they_are(tmp_path: Path) -> None:
    pixels = noise(12, 16, 3).astype(np.float32) / 255
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb")
    np.testing.assert_array_equal(formats.read(tmp_path / "a.tif").pixels, pixels)


REFUSED = {
    "CIELab": (noise(12, 16, 3), {"photometric": "cielab", "planarconfig": "contig"}),
    "ICCLab": (noise(12, 16, 3), {"photometric": "icclab", "planarconfig": "contig"}),
    "raw camera": (noise(12, 16), {"photometric": "cfa"}),
    "transparency mask": (noise(12, 16) > 100, {"photometric": "mask"}),
    "RGB in floats of 32 bits": (noise(12, 16, 4).astype(np.float32), {"photometric": "rgb"}),  # with alpha
    "RGB in signed integers": (noise(12, 16, 3).astype(np.int16), {"photometric": "rgb"}),
    "RGB in unsigned integers of 32": (noise(12, 16, 3).astype(np.uint32), {"photometric": "rgb"}),
    "multiplied by alpha": (noise(12, 16, 4, dtype=np.uint16), {"photometric": "rgb", "extrasamples": ["assocalpha"]}),
    "white-is-zero in floats": (noise(12, 16).astype(np.float32), {"photometric": "miniswhite"}),
    "white-is-zero in signed": (noise(12, 16).astype(np.int16), {"photometric": "miniswhite"}),
    "palette in unsigned integers of 16": (
        noise(12, 16, dtype=np.uint16),
        {"photometric": "palette", "colormap": noise(3, 65536, dtype=np.uint16)},
    ),
    "2 channels": (noise(12, 16, 2), {"photometric": "minisblack", "planarconfig": "contig"}),
    "3 channels": (noise(12, 16, 3), {"photometric": "minisblack", "planarconfig": "contig"}),
    "3 channels .samples": (
        noise(3, 12, 16, dtype=np.uint16),
        {"photometric": "minisblack", "planarconfig": "separate"},
    ),
    "complex64": (noise(12, 16).astype(np.complex64), {}),
}


@pytest.mark.parametrize("what", REFUSED)
def test_other_kinds_are_refused_by_name(tmp_path: Path, what: str) -> None:
    pixels, options = REFUSED[what]
    tifffile.imwrite(tmp_path / "a.tif", pixels, **options)
    with pytest.raises(MedSegError, match=rf"a\.tif.*{what}.*(Save|Convert)"):
        formats.read(tmp_path / "a.tif")


def test_a_file_that_does_not_say_what_its_values_mean_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(12, 16), metadata=None)
    content = bytearray((tmp_path / "a.tif").read_bytes())
    place = content.index(struct.pack("<HHI", 262, 3, 1))
    content[place : place + 2] = struct.pack("<H", 263)
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(MedSegError, match="PhotometricInterpretation is missing"):
        formats.read(tmp_path / "a.tif")


def test_labels_keep_the_indices_of_a_palette(tmp_path: Path) -> None:
    labels = RANDOM.integers(0, 3, (12, 16)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "l.tif", labels, photometric="palette", colormap=PALETTE)
    np.testing.assert_array_equal(formats.read_labels(tmp_path / "l.tif"), labels)
    tifffile.imwrite(tmp_path / "b.tif", labels > 0, photometric="minisblack")
    np.testing.assert_array_equal(formats.read_labels(tmp_path / "b.tif"), labels > 0)
