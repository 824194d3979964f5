"""BMP, WebP, JPEG 2000 and arrays of NumPy."""

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image as Picture

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError

GREY = np.random.default_rng(0).integers(0, 255, (9, 12)).astype(np.uint8)
COLOURS = np.random.default_rng(1).integers(0, 255, (9, 12, 3)).astype(np.uint8)


@pytest.mark.parametrize("suffix", [".bmp", ".webp", ".jp2", ".j2k"])
@pytest.mark.parametrize("pixels", [GREY, COLOURS], ids=["grey", "colour"])
def test_pictures_of_pillow_are_read_exactly(tmp_path: Path, suffix: str, pixels: np.ndarray) -> None:
    options = {".webp": {"lossless": True}}.get(suffix, {})
    Picture.fromarray(pixels).save(tmp_path / f"a{suffix}", **options)
    image = formats.read(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(image.pixels, pixels)
    assert [source.name for source in formats.find_images(tmp_path)] == [f"a{suffix}"]
    content = (tmp_path / f"a{suffix}").read_bytes()
    for size in (0, 10, len(content) // 3):
        (tmp_path / f"a{suffix}").write_bytes(content[:size])
        with pytest.raises(MedSegError):
            formats.read(tmp_path / f"a{suffix}")


def test_jpeg_2000_keeps_16_bits(tmp_path: Path) -> None:
    values = np.arange(108, dtype=np.uint16).reshape(9, 12) * 500
    (tmp_path / "a.jp2").write_bytes(imagecodecs.jpeg2k_encode(values, level=0, codecformat="jp2"))
    np.testing.assert_array_equal(formats.read(tmp_path / "a.jp2").pixels, values)


def test_a_turned_webp_is_shown_upright_and_a_bmp_is_a_mask(tmp_path: Path) -> None:
    exif = Picture.Exif()
    exif[0x0112] = 6
    Picture.fromarray(GREY).save(tmp_path / "a.webp", lossless=True, exif=exif)
    image = formats.read(tmp_path / "a.webp")
    np.testing.assert_array_equal(image.pixels, np.rot90(GREY, -1))
    drawn = (image.pixels > 100).astype(np.uint8)
    Picture.fromarray(drawn).save(tmp_path / "m.bmp")
    np.testing.assert_array_equal(formats.read_labels(tmp_path / "m.bmp", image), drawn)


@pytest.mark.parametrize(
    ("values", "axes"),
    [
        (GREY, "YX"),
        (COLOURS, "YXC"),
        (np.arange(24, dtype=np.int16).reshape(2, 3, 4), "ZYX"),
        (np.asfortranarray(np.arange(24, dtype=">f8").reshape(2, 3, 4)), "ZYX"),
        (np.ones((1, 3, 4), np.float32), "YX"),
        (np.zeros((2, 5, 4, 3), np.uint8), "ZYXC"),
        (np.eye(3, dtype=bool), "YX"),
    ],
)
def test_arrays_are_read_with_a_note_about_their_axes(tmp_path: Path, values: np.ndarray, axes: str) -> None:
    np.save(tmp_path / "a.npy", values)
    np.savez_compressed(tmp_path / "b.npz", scan=values)
    for name in ("a.npy", "b.npz"):
        image = formats.read(tmp_path / name)
        assert image.axes == axes
        np.testing.assert_array_equal(image.pixels, np.squeeze(values) * (255 if values.dtype == bool else 1))
        assert "no voxel size is known" in image.notes[0]


def test_objects_several_arrays_and_damage_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "o.npy", np.array([{"a": 1}, None]), allow_pickle=True)
    with pytest.raises(MedSegError, match="no pickle is loaded"):
        formats.read(tmp_path / "o.npy")
    np.savez(tmp_path / "s.npz", image=GREY, mask=GREY)
    with pytest.raises(MedSegError, match=r"holds 2 arrays \(image, mask\)"):
        formats.read(tmp_path / "s.npz")
    np.save(tmp_path / "t.npy", np.zeros((2, 3, 4, 5)))
    with pytest.raises(MedSegError, match="4 dimensions"):
        formats.read(tmp_path / "t.npy")
    np.save(tmp_path / "d.npy", GREY)
    np.savez_compressed(tmp_path / "d.npz", a=GREY)
    for name in ("d.npy", "d.npz"):
        content = (tmp_path / name).read_bytes()
        for size in (0, 5, 30, len(content) - 1):
            (tmp_path / name).write_bytes(content[:size])
            with pytest.raises(MedSegError):
                formats.read(tmp_path / name)
    np.save(tmp_path / "u.npy", np.zeros((2, 2), np.uint8))
    (tmp_path / "u.npy").write_bytes((tmp_path / "u.npy").read_bytes().replace(b"}", b" ", 1))
    with pytest.raises(MedSegError, match="header is damaged"):
        formats.read(tmp_path / "u.npy")
    np.save(tmp_path / "h.npy", np.zeros((2, 2), np.uint8))
    huge = (tmp_path / "h.npy").read_bytes().replace(b"(2, 2), ", b"(9999999, 999999), ", 1)
    (tmp_path / "h.npy").write_bytes(
        huge[:8] + (int.from_bytes(huge[8:10], "little") + 11).to_bytes(2, "little") + huge[10:]
    )
    with pytest.raises(MedSegError, match="would take"):
        formats.read(tmp_path / "h.npy")
