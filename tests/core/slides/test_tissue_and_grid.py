"""Tissue is found at low resolution, and a grid lies on it."""

import contextlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from slide_phantoms import GLASS, HEIGHT, TISSUE_BOX, WIDTH, make_picture, write_pyramid

from napari_medseg.core.errors import MedSegError, collect_damage
from napari_medseg.core.slides.fields import Field
from napari_medseg.core.slides.grid import GridChoice, convert_um_to_px, make_grid
from napari_medseg.core.slides.open_slide import open_slide
from napari_medseg.core.slides.slide import Slide
from napari_medseg.core.slides.tissue import find_tissue, find_tissue_in_picture, read_overview


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Slide:
    return open_slide(write_pyramid(tmp_path_factory.mktemp("slides") / "a.svs", make_picture(), 4))


def test_tissue_is_the_ellipse_and_glass_is_not(slide: Slide) -> None:
    tissue = find_tissue(slide)
    top, left, bottom, right = TISSUE_BOX
    expected = np.pi / 4 * (bottom - top) * (right - left) / (HEIGHT * WIDTH)
    assert tissue.share == pytest.approx(expected, rel=0.03)
    boxes = np.array([[700, 900, 900, 1100], [0, 0, 150, 150], [1300, 1800, 1500, 2050], [775, 975, 776, 976]], float)
    assert tissue.measure_shares(boxes) == pytest.approx([1, 0, 0, 1])


@pytest.mark.parametrize("colour", [(200, 190, 195), (150, 110, 90), (225, 200, 215), (120, 120, 120)])
def test_tissue_of_any_stain_is_found_faint_or_grey(colour: tuple[int, int, int]) -> None:
    random = np.random.default_rng(0)
    picture = np.full((300, 400, 3), GLASS, np.uint8)
    picture[100:200, 150:300] = colour
    noisy = np.clip(picture + random.integers(-5, 6, picture.shape), 0, 255).astype(np.uint8)
    mask = find_tissue_in_picture(noisy)
    assert mask[103:197, 153:297].mean() > 0.98
    assert mask.sum() < 1.1 * 100 * 150


def test_an_empty_slide_has_no_tissue_and_neither_has_a_black_edge_or_dust() -> None:
    random = np.random.default_rng(0)
    glass = np.clip(np.full((300, 400, 3), GLASS) + random.integers(-6, 7, (300, 400, 3)), 0, 255).astype(np.uint8)
    assert not find_tissue_in_picture(glass).any()
    glass[:, :60] = 0
    glass[100:102, 200:202] = 90
    assert find_tissue_in_picture(glass).mean() < 0.01
    assert not find_tissue_in_picture(np.full((50, 50, 3), 255, np.uint8)).any()


def test_the_overview_is_small_whatever_the_size_of_the_slide(slide: Slide) -> None:
    picture, downsample = read_overview(slide, 300)
    assert picture.shape == (-(-375 // 2), -(-513 // 2), 3)
    assert downsample == 8.0


def test_a_grid_lies_on_tissue_side_by_side(slide: Slide) -> None:
    tissue = find_tissue(slide)
    fields = make_grid(slide, tissue, GridChoice(size_px=200, min_share=0.9, max_fields=None))
    boxes = np.array([field.get_box(slide) for field in fields])
    assert (tissue.measure_shares(boxes) >= 0.9).all()
    assert len(fields) == 19
    assert len({(field.y, field.x) for field in fields}) == len(fields)
    assert all((field.y - fields[0].y) % 200 == 0 and (field.x - fields[0].x) % 200 == 0 for field in fields)
    more = make_grid(slide, tissue, GridChoice(size_px=200, min_share=0.3, max_fields=None))
    assert set(fields) < set(more)


def test_some_of_a_grid_are_chosen_by_the_seed_and_never_over_others(slide: Slide) -> None:
    tissue, choice = find_tissue(slide), GridChoice(size_px=150, max_fields=5)
    first = make_grid(slide, tissue, choice)
    assert len(first) == 5
    assert make_grid(slide, tissue, choice) == first
    assert make_grid(slide, tissue, replace(choice, seed=1)) != first
    others = make_grid(slide, tissue, replace(choice, max_fields=None), existing=first)
    assert not set(first) & set(others)
    everything = make_grid(slide, tissue, replace(choice, max_fields=None))
    assert set(everything) == set(first) | set(others)
    with pytest.raises(MedSegError, match="covered by fields already"):
        make_grid(slide, tissue, choice, existing=everything)


def test_fields_of_a_coarser_level_lie_on_its_pixels(slide: Slide) -> None:
    fields = make_grid(slide, find_tissue(slide), GridChoice(size_px=64, level=1, max_fields=None))
    assert {(field.level, field.height, field.y % 4, field.x % 4) for field in fields} == {(1, 64, 0, 0)}


def test_sizes_in_micrometres_need_a_resolution(slide: Slide, tmp_path: Path) -> None:
    assert [convert_um_to_px(slide, level, 250) for level in (0, 1)] == [1000, 250]
    unknown = open_slide(write_pyramid(tmp_path / "a.tif", make_picture(), 2))
    unknown.spacing_mm = None
    with pytest.raises(MedSegError, match="does not say its resolution"):
        convert_um_to_px(unknown, 0, 250)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (GridChoice(size_px=3), "cannot be made"),
        (GridChoice(size_px=64, level=5), "level from 0 to 1"),
        (GridChoice(size_px=1900), "do not fit"),
        (GridChoice(size_px=1200, min_share=0.95), "no place of a.svs has 95% of tissue"),
    ],
)
def test_a_grid_that_cannot_be_made_says_why(slide: Slide, choice: GridChoice, message: str) -> None:
    with pytest.raises(MedSegError, match=message):
        make_grid(slide, find_tissue(slide), choice)


def test_a_field_that_is_there_is_known_by_its_place(slide: Slide) -> None:
    assert Field(slide.path, 1, 40, 80, 10, 20).get_box(slide) == (40, 80, 80, 160)


def damage_tile(path: Path, number: int) -> None:
    """Overwrite the beginning of a tile of level 0, whose tissue is searched: nine in a row."""
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages.first.dataoffsets[number]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\0" * 64)


def test_a_damaged_tile_of_the_overview_counts_as_tissue_and_is_told(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "a.tif", make_picture(), 4)
    with contextlib.closing(open_slide(path)) as whole:
        expected = find_tissue(whole).mask
    damage_tile(path, 8)  # the last of the first row: glass
    with contextlib.closing(open_slide(path)) as damaged, collect_damage() as said:
        found = find_tissue(damaged).mask
    assert len(said) == 1
    assert "overview of a.tif is damaged" in said[0]
    expected[:128, 1024:] = True  # at half the size; what is unknown is predicted
    assert (found == expected).mean() > 0.999


def test_an_overview_without_any_tile_is_refused(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "a.tif", make_picture(), 4)
    for number in range(54):
        damage_tile(path, number)
    with contextlib.closing(open_slide(path)) as damaged, pytest.raises(MedSegError, match="no part of the overview"):
        find_tissue(damaged)
