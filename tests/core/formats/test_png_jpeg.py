"""PNG and JPEG in all their kinds."""

import struct
import tracemalloc
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image as Picture
from PIL import ImageOps

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image


def values(shape: tuple[int, ...], dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape).astype(dtype)


def save(path: Path, array: np.ndarray) -> Path:
    Picture.fromarray(array).save(path)
    return path


def test_grey_rgb_and_rgba(tmp_path: Path) -> None:
    for shape, axes in (((5, 6), "YX"), ((5, 6, 3), "YXC"), ((5, 6, 4), "YXC")):
        image = formats.read(save(tmp_path / "a.png", values(shape)))
        assert image.axes == axes
        np.testing.assert_array_equal(image.pixels, values(shape)[..., :3] if len(shape) == 3 else values(shape))
        assert (image.spacing_mm, image.affine) == (None, None)
        assert image.units == ("rgb" if "C" in axes else "grey")


def test_grey_with_transparency(tmp_path: Path) -> None:
    image = formats.read(save(tmp_path / "a.png", values((5, 6, 2))))
    np.testing.assert_array_equal(image.pixels, values((5, 6, 2))[..., 0])


def test_colours_that_are_all_grey_become_grey(tmp_path: Path) -> None:
    image = formats.read(save(tmp_path / "a.png", np.repeat(values((5, 6, 1)), 3, axis=2)))
    assert (image.axes, image.units) == ("YX", "grey")


@pytest.mark.parametrize("shape", [(5, 6), (5, 6, 3), (5, 6, 4)])
def test_sixteen_bits_are_kept(tmp_path: Path, shape: tuple[int, ...]) -> None:
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(values(shape, np.uint16)))
    image = formats.read(tmp_path / "a.png")
    assert image.pixels.dtype == np.uint16
    np.testing.assert_array_equal(
        image.pixels, values(shape, np.uint16)[..., :3] if len(shape) == 3 else values(shape, np.uint16)
    )


def test_palette_and_black_and_white(tmp_path: Path) -> None:
    colour = Picture.fromarray(values((5, 6, 3))).quantize(8)
    colour.save(tmp_path / "p.png")
    np.testing.assert_array_equal(formats.read(tmp_path / "p.png").pixels, np.asarray(colour.convert("RGB")))
    Picture.fromarray(values((5, 6)) > 100).save(tmp_path / "b.png")
    np.testing.assert_array_equal(formats.read(tmp_path / "b.png").pixels, (values((5, 6)) > 100) * 255)


def test_jpeg_grey_and_colour(tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(40), np.arange(50)).astype(np.uint8)
    Picture.fromarray(smooth).save(tmp_path / "a.jpg", quality=95)
    image = formats.read(tmp_path / "a.jpg")
    assert image.axes == "YX"
    assert np.abs(image.pixels.astype(int) - smooth).max() <= 3
    Picture.fromarray(np.stack([smooth, smooth[::-1], smooth], axis=-1)).save(tmp_path / "b.JPEG", quality=95)
    assert formats.read(tmp_path / "b.JPEG").axes == "YXC"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_photograph_is_upright_and_labels_lie_on_its_file(tmp_path: Path, orientation: int) -> None:
    exif = Picture.Exif()
    exif[0x0112] = orientation
    Picture.fromarray(values((5, 6, 3))).save(tmp_path / "a.png", exif=exif)
    image = formats.read(tmp_path / "a.png")
    with Picture.open(tmp_path / "a.png") as picture:
        np.testing.assert_array_equal(image.pixels, np.asarray(ImageOps.exif_transpose(picture)))
    labels = (image.pixels[..., 0] > 100).astype(np.uint8)
    for suffix in (".png", ".tif"):
        formats.write_labels(tmp_path / f"l{suffix}", labels, image)
        np.testing.assert_array_equal(formats.read_labels(tmp_path / f"l{suffix}", image), labels)
    np.testing.assert_array_equal(imagecodecs.imread(tmp_path / "l.png"), values((5, 6, 3))[..., 0] > 100)


def test_a_picture_under_a_wrong_name_is_read_all_the_same(tmp_path: Path) -> None:
    save(tmp_path / "a.png", values((5, 6))).rename(tmp_path / "a.jpg")
    np.testing.assert_array_equal(formats.read(tmp_path / "a.jpg").pixels, values((5, 6)))


def test_png_keeps_the_grid_exactly(tmp_path: Path) -> None:
    affine = np.array([[0, 0, -0.7, 1 / 3], [0, -0.8, 0, 2], [1, 0, 0, 3], [0, 0, 0, 1.0]])
    image = Image(values((5, 6), np.uint16), "YX", (0.8, 0.7), affine, modality="CT")
    formats.write_image(tmp_path / "a.png", image)
    back = formats.read(tmp_path / "a.png")
    assert back.spacing_mm == (0.8, 0.7)
    assert back.affine.tobytes() == affine.tobytes()
    assert back.content_hash == image.content_hash


def test_what_png_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MedSegError, match="is a volume"):
        formats.write_image(tmp_path / "a.png", Image(values((4, 5, 6)), "ZYX"))
    with pytest.raises(MedSegError, match="unsigned integers of 8 or 16 bits"):
        formats.write_image(tmp_path / "a.png", Image(values((5, 6), np.int16), "YX"))
    assert not list(tmp_path.iterdir())


def write_labels_png(path: Path, mode: str) -> np.ndarray:
    labels = np.random.default_rng(0).integers(0, 2 if mode == "1" else 3, (24, 32)).astype(np.uint8)
    picture = Picture.fromarray(labels > 0) if mode == "1" else Picture.fromarray(labels)
    if mode == "P":
        picture = picture.convert("P")
        picture.putdata(labels.ravel().tolist())
        picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    picture.save(path)
    return labels


@pytest.mark.parametrize("mode", ["L", "P", "1"])
def test_a_flipped_bit_in_a_label_png_never_changes_a_label(tmp_path: Path, mode: str) -> None:
    labels = write_labels_png(tmp_path / "l.png", mode)
    whole = (tmp_path / "l.png").read_bytes()
    np.testing.assert_array_equal(formats.read_labels(tmp_path / "l.png"), labels)
    start, end = whole.index(b"IDAT"), whole.index(b"IEND") - 4
    for place in range(start, end):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << (place % 8)
        (tmp_path / "l.png").write_bytes(damaged)
        with pytest.raises(MedSegError, match=r"l\.png"):
            formats.read_labels(tmp_path / "l.png")


@pytest.mark.parametrize("shape", [(24, 32), (24, 32, 3), (24, 32, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_flipped_bit_in_a_picture_is_noticed(tmp_path: Path, shape: tuple[int, ...], dtype: type) -> None:
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(values(shape, dtype)))
    whole = (tmp_path / "a.png").read_bytes()
    for place in range(whole.index(b"IDAT"), len(whole) - 12, 41):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        (tmp_path / "a.png").write_bytes(damaged)
        with pytest.raises(MedSegError, match=r"a\.png"):
            formats.read(tmp_path / "a.png")


def test_a_truncated_jpeg_is_refused(tmp_path: Path) -> None:
    Picture.fromarray(values((40, 50, 3))).save(tmp_path / "a.jpg")
    whole = (tmp_path / "a.jpg").read_bytes()
    for n in range(0, len(whole) - 2, 50):
        (tmp_path / "a.jpg").write_bytes(whole[:n])
        with pytest.raises(MedSegError, match=r"a\.jpg"):
            formats.read(tmp_path / "a.jpg")


def test_grey_of_16_bits_with_transparency_keeps_its_bits(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(values((5, 6, 2), np.uint16)))
    np.testing.assert_array_equal(formats.read(tmp_path / "a.png").pixels, values((5, 6, 2), np.uint16)[..., 0])


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_labels_of_few_bits_keep_their_numbers(tmp_path: Path, bits: int) -> None:
    labels = np.random.default_rng(0).integers(0, 2**bits, (8, 16)).astype(np.uint8)
    write_packed_png(tmp_path / "l.png", labels, bits)
    np.testing.assert_array_equal(formats.read_labels(tmp_path / "l.png"), labels)
    spread = 255 // (2**bits - 1)
    np.testing.assert_array_equal(formats.read(tmp_path / "l.png").pixels, labels * spread)


def write_packed_png(path: Path, labels: np.ndarray, bits: int) -> None:
    rows = ["".join(format(int(number), f"0{bits}b") for number in row) for row in labels]
    data = b"".join(b"\0" + int(row, 2).to_bytes(len(row) // 8, "big") for row in rows)
    height, width = labels.shape
    chunks = {b"IHDR": struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0), b"IDAT": zlib.compress(data)}
    content = b"\x89PNG\r\n\x1a\n"
    for name, body in (chunks | {b"IEND": b""}).items():
        content += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    path.write_bytes(content)


def test_an_animation_is_told(tmp_path: Path) -> None:
    frames = [Picture.fromarray(values((5, 6)) // n) for n in (1, 2, 3)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    assert "animation of 3 frames" in formats.read(tmp_path / "a.png").notes[0]


@pytest.mark.parametrize("kind", [b"abcd", b"IDAT"])
def test_what_follows_a_picture_is_not_read(tmp_path: Path, kind: bytes) -> None:
    path = tmp_path / "a.png"
    Picture.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8)).save(path)
    path.write_bytes(path.read_bytes() + struct.pack(">I4s", 0xFFFFFF00, kind) + b"rest")
    tracemalloc.start()
    assert formats.read(path).pixels.shape == (6, 8)
    assert tracemalloc.get_traced_memory()[1] < 10**7
    tracemalloc.stop()
