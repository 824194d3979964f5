"""The axes of NumPy arrays: what is asked, what is said, and that it is read so again."""

from pathlib import Path

import numpy as np
import pytest

from napari_medseg.core import formats
from napari_medseg.core.containers.array_layout import ArrayHeader, ArrayLayout, parse_array_part, parse_layout
from napari_medseg.core.errors import MedSegError

VOLUME = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
COLOURS = np.arange(4 * 5 * 6 * 3).reshape(4, 5, 6, 3).astype(np.uint8)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("axes", ["ZYX", "YXZ", "XYZ", "XZY"])
def test_a_volume_in_any_order_is_the_same_image_and_is_read_so_again(tmp_path: Path, axes: str, suffix: str) -> None:
    values = VOLUME.transpose(["ZYX".index(letter) for letter in axes])
    np.save(tmp_path / "a.npy", values)
    np.savez_compressed(tmp_path / "a.npz", scan=values)
    (source,) = formats.find_images(tmp_path / f"a{suffix}")
    assert source.asks_axes
    (said,) = source.lay_out(parse_layout(axes, "2.5, 0.8, 0.7"))
    assert not said.asks_axes
    image = formats.read_source(said)
    np.testing.assert_array_equal(image.pixels, VOLUME)
    assert (image.axes, image.spacing_mm, image.notes, image.name) == ("ZYX", (2.5, 0.8, 0.7), (), "a")
    again = formats.read(image.sources[0])
    assert (again.content_hash, again.sources, again.group) == (image.content_hash, image.sources, f"a{suffix}")
    np.testing.assert_array_equal(image.storage.to_file(image.pixels), values)


@pytest.mark.parametrize(
    ("axes", "order"), [("NYXC", (0, 1, 2, 3)), ("NCYX", (0, 3, 1, 2)), ("YXNC", (1, 2, 0, 3)), ("CYXN", (3, 1, 2, 0))]
)
def test_each_image_of_a_stack_is_one_case(tmp_path: Path, axes: str, order: tuple[int, ...]) -> None:
    for name, values in (("c", COLOURS), ("f", np.asfortranarray(COLOURS))):
        np.save(tmp_path / f"{name}.npy", values.transpose(order))
        (source,) = formats.find_images(tmp_path / f"{name}.npy")
        images = [formats.read_source(each) for each in source.lay_out(ArrayLayout(axes, (0.5, 0.5)))]
        assert len(images) == 4
        for n, image in enumerate(images):
            np.testing.assert_array_equal(image.pixels, COLOURS[n])
            assert (image.axes, image.group, image.spacing_mm) == ("YXC", f"{name}.npy", (0.5, 0.5))
    assert images[2].name == "f image 3"


def test_arrays_of_an_npz_are_chosen_by_their_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", image=VOLUME, mask=VOLUME > 50)
    found = formats.search_images(tmp_path)
    assert found.asks_which
    assert [source.part for source in found.sources] == ["array image", "array mask"]
    assert found.sources[0].asks_axes
    image = formats.read_source(found.sources[0])
    np.testing.assert_array_equal(image.pixels, VOLUME)
    (said,) = found.sources[0].lay_out(ArrayLayout("YXZ"))
    image = formats.read_source(said)
    np.testing.assert_array_equal(image.pixels, VOLUME.transpose(2, 0, 1))
    assert formats.read(image.sources[0]).content_hash == image.content_hash
    with pytest.raises(MedSegError, match="millimetres"):
        found.sources[0].lay_out(ArrayLayout("YXZ", (1.0, 1.0)))


@pytest.mark.parametrize(
    ("shape", "dtype", "first"),
    [
        ((300, 512, 512), "int16", "ZYX"),
        ((512, 512, 40), "int16", "YXZ"),
        ((9, 64, 64, 3), "uint8", "ZYXC"),
        ((9, 3, 64, 64), "uint8", "NCYX"),
        ((3, 64, 64), "uint8", "CYX"),
        ((5, 9, 64, 64), "float32", "NZYX"),
    ],
)
def test_the_likely_meaning_comes_first(shape: tuple[int, ...], dtype: str, first: str) -> None:
    header = ArrayHeader("", shape, dtype)
    assert not header.is_clear
    assert header.choices[0].axes == first
    assert all(not layout.find_problem(shape) for layout in header.choices)
    assert all("C" not in layout.axes or 3 in shape for layout in header.choices)


@pytest.mark.parametrize(
    ("shape", "dtype"), [((4, 5), "float64"), ((4, 5, 3), "uint8"), ((1, 4, 5), "int16"), ((1, 4, 5, 4), "uint8")]
)
def test_nobody_is_asked_about_a_plane_or_a_picture(shape: tuple[int, ...], dtype: str) -> None:
    assert ArrayHeader("", shape, dtype).is_clear


def test_what_is_said_survives_in_the_path() -> None:
    path = Path("folder/a_b.npz")
    for layout in (
        ArrayLayout("NZYX", (2.5, 0.703125, 0.703125), 12, 3),
        ArrayLayout("ZYXC"),
        ArrayLayout("YX", (0.25, 0.25)),
        ArrayLayout(array=2),
    ):
        part = layout.make_part_path(path)
        assert parse_array_part(path, part.relative_to(path)) == layout
    for name in ("b.npz", "a_b_axesQ.npz", "a_b_axesZYX.npy", "a_b_image3x.npz", "x/a_b_axesZYX.npz"):
        assert parse_array_part(path, Path(name)) is None


@pytest.mark.parametrize("axes", ["", "Z", "ZZYX", "ABC", "ZX", "ZYXCNQ"])
def test_axes_that_are_none_are_refused(axes: str) -> None:
    with pytest.raises(MedSegError, match="Examples: ZYX"):
        parse_layout(axes)


@pytest.mark.parametrize("spacing", ["a", "1", "1,2,3,4", "0,1,1", "-1 1 1", "nan 1 1", "inf,1,1"])
def test_a_spacing_that_is_none_is_refused(spacing: str) -> None:
    with pytest.raises(MedSegError, match="no spacing"):
        parse_layout("ZYX", spacing)


def test_axes_that_do_not_fit_and_damage_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VOLUME)
    for name in ("a_axesZYXC.npy", "a_axesNYX.npy", "a_axesNYX_image5.npy", "a_array2.npy", "a_axesZYX_1x1mm.npy"):
        with pytest.raises(MedSegError):
            formats.read(tmp_path / "a.npy" / name)
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-3])
    with pytest.raises(MedSegError):
        formats.read(tmp_path / "a.npy/a_axesNYX_image4.npy")
