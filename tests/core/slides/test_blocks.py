"""What a window shows of a slide: read in threads, bounded in bytes, and never waited for."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from slide_phantoms import make_picture, write_pyramid

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.slides import lazy_level
from napari_medseg.core.slides.block_cache import BlockCache
from napari_medseg.core.slides.blocks import BLOCK_PX, DAMAGED, SlideBlocks
from napari_medseg.core.slides.lazy_level import LazyLevel
from napari_medseg.core.slides.open_slide import open_slide
from napari_medseg.core.slides.shown_levels import list_shown_levels

PICTURE = make_picture(2300, 2500)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pyramid(tmp_path_factory.mktemp("slides") / "a.tif", PICTURE, 4)


@pytest.fixture
def open_blocks() -> Iterator[Callable[..., SlideBlocks]]:
    opened: list[SlideBlocks] = []

    def make(*arguments: object) -> SlideBlocks:
        opened.append(SlideBlocks(*arguments))  # type: ignore[arg-type]
        return opened[-1]

    yield make
    for blocks in opened:
        blocks.close()


def wait_until_read(blocks: SlideBlocks) -> None:
    give_up = time.monotonic() + 60
    while blocks.is_reading:
        assert time.monotonic() < give_up
        time.sleep(0.005)


def test_levels_that_are_far_apart_get_others_between_them(path: Path) -> None:
    slide = open_slide(path)
    shown = list_shown_levels(slide)
    assert [(level.downsample, level.of_file, level.factor) for level in shown] == [(1, 0, 1), (2, 0, 2), (4, 1, 1)]
    assert (shown[1].height, shown[1].width) == (1150, 1250)
    slide.close()


def test_a_piece_is_coarse_at_once_and_exact_when_it_is_read(
    path: Path, open_blocks: Callable[..., SlideBlocks]
) -> None:
    blocks = open_blocks(path)
    wanted = PICTURE[300:1500, 200:1700]
    first = blocks.get_piece(0, 300, 200, 1200, 1500)
    assert first.shape == wanted.shape
    assert np.abs(first.astype(int) - wanted).mean() < 40  # from the overview, not grey
    wait_until_read(blocks)
    assert np.array_equal(blocks.get_piece(0, 300, 200, 1200, 1500), wanted)
    blocks.get_piece(1, 100, 100, 400, 500)
    wait_until_read(blocks)
    means = PICTURE[200:1000, 200:1200].reshape(400, 2, 500, 2, 3).mean(axis=(1, 3))
    assert np.abs(blocks.get_piece(1, 100, 100, 400, 500) - means).max() <= 1


def test_what_is_no_longer_seen_is_not_read(path: Path, open_blocks: Callable[..., SlideBlocks]) -> None:
    blocks = open_blocks(path)
    for y in range(0, 1500, 50):  # a fast pan
        blocks.get_piece(0, y, 0, 300, 300)
    wait_until_read(blocks)
    assert np.array_equal(blocks.get_piece(0, 1450, 0, 300, 300), PICTURE[1450:1750, :300])


def test_blocks_are_kept_up_to_a_number_of_bytes(path: Path, open_blocks: Callable[..., SlideBlocks]) -> None:
    limit = 3 * BLOCK_PX * BLOCK_PX * 3
    blocks = open_blocks(path, limit)
    for y in range(0, 2000, 500):
        blocks.get_piece(0, y, 0, 300, 2000)
        wait_until_read(blocks)
        assert blocks.n_bytes <= limit
    cache = BlockCache(100)
    for number in range(5):
        cache.put((0, 0, number), np.zeros(40, np.uint8))
    assert cache.get((0, 0, 4)) is not None
    assert (cache.n_bytes, (0, 0, 0) in cache) == (80, False)


def test_a_damaged_part_is_grey_and_told_once(tmp_path: Path, open_blocks: Callable[..., SlideBlocks]) -> None:
    path = write_pyramid(tmp_path / "a.tif", PICTURE, 4)
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages.first.dataoffsets[0]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\0" * 64)
    blocks = open_blocks(path)
    for _ in range(2):
        blocks.get_piece(0, 0, 0, 600, 600)
        wait_until_read(blocks)
    piece = blocks.get_piece(0, 0, 0, 600, 600)
    assert (piece[:256, :256] == DAMAGED).all()
    assert np.array_equal(piece[256:], PICTURE[256:600, :600])
    assert np.array_equal(piece[:, 256:], PICTURE[:600, 256:600])
    damages = blocks.take_damages()
    assert len(damages) == 1
    assert "level 0, x 0 to 256, y 0 to 256" in damages[0]
    assert blocks.take_damages() == []


def test_a_slide_without_reduced_copies_gets_its_overview_in_time(
    tmp_path: Path, open_blocks: Callable[..., SlideBlocks]
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PICTURE, tile=(256, 256), photometric="rgb", compression="zlib")
    blocks = open_blocks(path)
    assert blocks.levels[-1].factor == 2
    means = PICTURE.reshape(1150, 2, 1250, 2, 3).mean(axis=(1, 3))
    give_up = time.monotonic() + 60
    while np.abs(blocks.overview - means).max() > 1:
        assert time.monotonic() < give_up
        time.sleep(0.01)


def test_a_level_is_an_array_of_which_pieces_are_taken(
    path: Path, open_blocks: Callable[..., SlideBlocks], monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = open_blocks(path)
    level = LazyLevel(blocks, 2)
    whole = np.ascontiguousarray(PICTURE[::4, ::4])
    assert (level.shape, level.ndim, level.dtype, len(level)) == (whole.shape, 3, np.uint8, whole.shape[0])
    assert np.array_equal(np.asarray(level), whole)
    for index in (
        np.s_[10:20, 5:50],
        np.s_[10:20, 5:50, :],
        np.s_[..., 1],
        np.s_[5],
        np.s_[-3:, ::7],
        np.s_[4, 9],
        np.s_[:9999, 600:],
    ):
        assert np.array_equal(level[index], whole[index])
    monkeypatch.setattr(lazy_level, "MAX_WHOLE_PIXELS", 1000)
    with pytest.raises(MedSegError, match="too many to be read as a whole"):
        np.asarray(level)
