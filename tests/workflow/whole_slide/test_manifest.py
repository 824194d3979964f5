"""Slides are told apart without their names."""

from pathlib import Path

from slide_phantoms import make_picture, write_ome_zarr

from napari_medseg.core.slides.open_slide import open_slide
from napari_medseg.workflow.whole_slide.manifest import SlideIdentity


def identify(path: Path, seed: int) -> SlideIdentity:
    if not path.exists():
        write_ome_zarr(str(path), make_picture(300, 400, seed), 2)
    slide = open_slide(path)
    try:
        return SlideIdentity.of(slide)
    finally:
        slide.close()


def test_two_ome_zarr_of_one_size_are_two_slides_and_a_moved_one_is_the_same(tmp_path: Path) -> None:
    """A program writes the same metadata for both: the labels of one would be shown on the other."""
    first, second = identify(tmp_path / "a.zarr", 0), identify(tmp_path / "b.zarr", 1)
    assert first != second
    (tmp_path / "a.zarr").rename(tmp_path / "c.zarr")
    assert identify(tmp_path / "c.zarr", 0) == first
