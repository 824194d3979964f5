"""At which resolution a model sees a slide, and where its chunks lie."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from whole_slide_phantoms import draw_discs, read_nuclei_card, reducing, write_slide

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import PostprocessingStep, RegionOfInterest
from napari_medseg.core.slides.open_slide import open_slide
from napari_medseg.core.slides.slide import Slide
from napari_medseg.workflow.whole_slide.chunks import ChunkGrid, divide_grid, find_chunks_on_tissue
from napari_medseg.workflow.whole_slide.grid import choose_grid, read_grid
from napari_medseg.workflow.whole_slide.plan import make_plan, refuse_unsuitable

SIDE = 600


@pytest.fixture
def slide(tmp_path: Path) -> Iterator[Slide]:
    """0.2 micrometres per pixel, in levels of 1, 2 and 4."""
    opened = open_slide(write_slide(tmp_path / "a.tif", draw_discs(SIDE, SIDE, 100), um_per_px=0.2))
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("um", "level", "factor", "side"),
    [
        (0.2, 0, 1.0, 600),
        (0.21, 0, 1.0, 600),
        (0.25, 0, 1.25, 480),
        (0.4, 1, 1.0, 300),
        (0.5, 1, 1.25, 240),
        (0.1, 0, 0.5, 1200),
        (None, 0, 1.0, 600),
    ],
)
def test_the_level_that_is_just_fine_enough_is_read(
    slide: Slide, um: float | None, level: int, factor: float, side: int
) -> None:
    grid = choose_grid(slide, um)
    assert (grid.level, grid.height, grid.width) == (level, side, side)
    assert grid.factor == pytest.approx(factor, rel=1e-3)
    assert grid.downsample == pytest.approx(2**level * factor, rel=1e-3)
    assert grid.um_per_px == pytest.approx(0.2 * grid.downsample, rel=1e-3)


def test_a_slide_that_is_far_too_coarse_is_refused(slide: Slide) -> None:
    with pytest.raises(MedSegError, match="shows too little"):
        choose_grid(slide, 0.03)


@pytest.mark.parametrize("um", [0.25, 0.37, 0.13])
def test_parts_fit_together_without_a_seam(slide: Slide, um: float) -> None:
    grid = choose_grid(slide, um)
    whole = read_grid(slide, grid, 0, 0, grid.height, grid.width)
    parts = []
    for y in range(0, grid.height, 97):
        starts = range(0, grid.width, 97)
        size = min(97, grid.height - y)
        parts.append([read_grid(slide, grid, y, x, size, min(97, grid.width - x)) for x in starts])
    joined = np.concatenate([np.concatenate(row, axis=1) for row in parts])
    assert np.abs(joined.astype(int) - whole).max() <= 1
    assert whole.flags.writeable


def test_chunks_cover_the_slide_once_and_their_windows_overlap() -> None:
    chunks = ChunkGrid(560, 590, 200, 32)
    seen = np.zeros((560, 590), int)
    for number in range(chunks.n_rows * chunks.n_columns):
        seen[chunks.get_core(number)] += 1
    assert (seen == 1).all()
    assert chunks.get_window(4) == (slice(168, 432), slice(168, 432))
    assert chunks.get_window(0) == (slice(0, 232), slice(0, 232))


def test_only_chunks_on_tissue_are_chosen() -> None:
    chunks = ChunkGrid(1000, 1000, 250, 10)
    tissue = np.zeros((100, 100), bool)
    tissue[24:26, 60] = True
    assert find_chunks_on_tissue(chunks, tissue) == [2, 6]


def test_a_model_that_reduces_what_it_is_shown_sees_fields() -> None:
    card = read_nuclei_card()
    assert divide_grid(9000, 9000, card).core_px == 1920
    assert divide_grid(9000, 9000, reducing(card)).core_px == 864


def test_models_that_need_the_whole_image_are_refused() -> None:
    card = read_nuclei_card()
    refuse_unsuitable(card)
    with pytest.raises(MedSegError, match="works inside the lungs"):
        refuse_unsuitable(card.model_copy(update={"field": RegionOfInterest(task="lungs")}))
    steps = [PostprocessingStep(name="largest_component_per_label")]
    with pytest.raises(MedSegError, match="needs the whole image"):
        refuse_unsuitable(card.model_copy(update={"postprocessing": steps}))


def test_grey_values_are_those_of_the_tissue(slide: Slide) -> None:
    plan = make_plan(slide, read_nuclei_card())
    assert plan.manifest.intensity_range == (40.0, 235.0)
    assert plan.n_bytes > 0


def test_an_empty_slide_has_nothing_to_predict(slide: Slide) -> None:
    with pytest.raises(MedSegError, match="no tissue"):
        make_plan(slide, read_nuclei_card(), np.zeros((50, 50), bool))
