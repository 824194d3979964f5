"""Slides among dropped files."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from slide_phantoms import make_picture, write_ome_zarr, write_pyramid

from napari_medseg.core.formats import can_read
from napari_medseg.plugin.slides import dropped_slides
from napari_medseg.plugin.slides.dropped_slides import split_slides


def test_slides_are_told_from_other_files_also_in_a_folder(tmp_path: Path) -> None:
    picture = make_picture(1100, 1200)
    folder = tmp_path / "study"
    (folder / "more").mkdir(parents=True)
    (folder / "a").mkdir()  # as the data of a.mrxs
    svs = write_pyramid(folder / "a.svs", picture, 2)
    write_ome_zarr(str(folder / "b.zarr"), picture, 2)
    (folder / "notes.txt").write_text("notes")
    tifffile.imwrite(folder / "c.tif", np.zeros((50, 50), np.uint8))
    slides = [svs, folder / "b.zarr"]
    assert split_slides([folder]) == (slides, [folder / "c.tif", folder / "more"])
    assert split_slides([folder / "c.tif", *slides]) == (slides, [folder / "c.tif"])
    assert split_slides([folder / "more"]) == ([], [folder / "more"])  # as it was dropped


def test_of_many_tiff_files_only_large_ones_are_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_pyramid(tmp_path / "a.tif", make_picture(1100, 1200), 2)
    many = [path] * (dropped_slides.N_LOOKED_INTO + 1)
    assert split_slides(many[1:]) == (many[1:], [])
    assert split_slides(many) == ([], many)
    monkeypatch.setattr(dropped_slides, "LARGE_BYTES", 1000)
    assert split_slides(many) == (many, [])


def test_an_address_is_a_slide_only_if_it_is_ome_zarr() -> None:
    slide, other = Path("https://host/a.zarr"), Path("https://host/a.png")
    assert split_slides([slide, other]) == ([slide], [other])
    assert (can_read(slide), can_read(other)) == (True, False)
