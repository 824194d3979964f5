"""Labels of a slide as a viewer takes them: with corrected fields in place, at every level."""

import threading
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_medseg.core.errors import collect_damage
from napari_medseg.core.tasks.bundled_tasks import get_task
from napari_medseg.workflow.whole_slide import label_pyramid
from napari_medseg.workflow.whole_slide.chunks import Box
from napari_medseg.workflow.whole_slide.corrections import CorrectedField
from napari_medseg.workflow.whole_slide.grid import ModelGrid
from napari_medseg.workflow.whole_slide.label_pyramid import LabelPyramid, choose_dtype, create_pyramid
from napari_medseg.workflow.whole_slide.shown_labels import (
    FIRST_SHOWN_ID,
    LabelBlocks,
    ShownLabels,
    make_shown_levels,
    pack_fields,
)

GRID = ModelGrid(0, 1.0, 2100, 1500, 1.0, 0.25)


class ReadBlocks(LabelBlocks):
    """Blocks that are all read, so that a piece is as it will be in the end."""

    def read(self, box: Box, level: int) -> NDArray[Any]:
        super().read(box, level)
        self.wait()
        return super().read(box, level)


class SlowPyramid(LabelPyramid):
    """Labels of a slow disk: it reads as many blocks as are allowed."""

    def __init__(self, of: LabelPyramid) -> None:
        super().__init__(of.path, of.levels)
        self.n_allowed = threading.Semaphore(0)

    def read(self, box: Box, level: int = 0) -> NDArray[Any]:
        self.n_allowed.acquire()
        return super().read(box, level)


class ChangingPyramid(LabelPyramid):
    """Labels that are written while they are read."""

    def read(self, box: Box, level: int = 0) -> NDArray[Any]:
        labels = super().read(box, level)
        self.change()
        return labels

    def change(self) -> None:
        """Do nothing, until a test puts something else here."""


@pytest.fixture
def levels(tmp_path: Path) -> list[ShownLabels]:
    task = get_task("nuclei")
    pyramid = create_pyramid(tmp_path / "l.zarr", GRID, choose_dtype(task), task, "nuclei")
    pyramid.write(np.full((400, 300), 7, np.uint32), (slice(101, 501), slice(203, 503)))
    drawn = np.zeros((90, 70), np.uint16)
    drawn[10:, 20:] = 4
    reviewed = np.ones((90, 70), bool)
    reviewed[:, 60:] = False
    fields = pack_fields([CorrectedField(151, 211, 1.0, drawn, reviewed)], GRID, pyramid.dtype, are_objects=True)
    return make_shown_levels(ReadBlocks(pyramid), fields)


def test_every_level_shows_the_field_in_place(levels: list[ShownLabels]) -> None:
    expected = np.zeros((2100, 1500), np.int64)
    expected[101:501, 203:503] = 7
    expected[151:241, 211:271] = 0
    expected[161:241, 231:271] = FIRST_SHOWN_ID + 4
    assert [level.shape for level in levels] == [(2100, 1500), (1050, 750), (525, 375)]
    for number, level in enumerate(levels):
        assert np.array_equal(np.asarray(level), expected[:: 2**number, :: 2**number])


def test_pieces_are_as_of_numpy(levels: list[ShownLabels]) -> None:
    for level in levels:
        whole = np.asarray(level)
        for piece in (
            (slice(30, 90, 3), slice(20, 99)),
            (100, slice(None)),
            (slice(60, 61), 55),
            (Ellipsis,),
            (-1, -1),
        ):
            assert np.array_equal(level[piece], whole[piece])
    with pytest.raises(IndexError):
        levels[0][5000, 0]


def test_what_changed_is_read_again_and_the_rest_is_kept(tmp_path: Path) -> None:
    task = get_task("nuclei")
    pyramid = create_pyramid(tmp_path / "l.zarr", GRID, choose_dtype(task), task, "nuclei")
    blocks = ReadBlocks(pyramid)
    levels = make_shown_levels(blocks, [])
    assert not levels[0][:].any()
    box = (slice(600, 700), slice(600, 700))
    pyramid.write(np.full((100, 100), 5, np.uint32), box)
    pyramid.write(np.full((10, 10), 6, np.uint32), (slice(0, 10), slice(0, 10)))
    assert not levels[0][:].any()
    blocks.forget(box)
    assert (levels[0][600:700, 600:700] == 5).all()
    assert (levels[2][150:175, 150:175] == 5).all()
    assert not levels[0][:10, :10].any()
    blocks.forget(None)
    assert (levels[0][:10, :10] == 6).all()


def test_a_piece_is_never_waited_for(tmp_path: Path) -> None:
    task = get_task("nuclei")
    pyramid = create_pyramid(tmp_path / "l.zarr", GRID, choose_dtype(task), task, "nuclei")
    box = (slice(0, 200), slice(300, 500))
    pyramid.write(np.full((200, 200), 7, np.uint32), box)
    reader = SlowPyramid(pyramid)
    blocks = LabelBlocks(reader)
    assert not blocks.read(box, 0).any(), "nothing is read yet"
    reader.n_allowed.release(2)  # the blocks of the coarsest level
    for _ in range(20_000):
        if blocks.version == 2:
            break
        time.sleep(0.001)
    assert (blocks.read((slice(4, 196), slice(304, 496)), 0) == 7).all(), "as the coarsest level shows it"
    reader.n_allowed.release(99)
    blocks.wait()
    pyramid.write(np.full((200, 200), 9, np.uint32), box)
    blocks.forget(box)
    assert (blocks.read(box, 0) == 7).all(), "what changed is shown as it was until it is read"
    blocks.wait()
    assert (blocks.read(box, 0) == 9).all()


def test_a_part_that_changes_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    task, whole = get_task("nuclei"), (slice(0, 512), slice(0, 512))
    written = create_pyramid(tmp_path / "l.zarr", GRID, choose_dtype(task), task, "nuclei")
    pyramid = ChangingPyramid(written.path, written.levels)
    blocks = LabelBlocks(pyramid)
    blocks.wait()

    def change() -> None:
        pyramid.change = lambda: None
        written.write(np.full((512, 512), 7, np.uint32), whole)
        blocks.forget(whole)

    pyramid.change = change
    for _ in range(2):  # as a window that draws what was read
        blocks.read(whole, 0)
        blocks.wait()
    assert (blocks.read(whole, 0) == 7).all()


def test_a_view_that_is_larger_than_what_is_kept_is_read_once(tmp_path: Path) -> None:
    task, whole = get_task("nuclei"), (slice(0, 2100), slice(0, 1500))
    pyramid = create_pyramid(tmp_path / "l.zarr", GRID, choose_dtype(task), task, "nuclei")
    pyramid.write(np.full((2100, 1500), 7, np.uint32), whole)
    blocks = LabelBlocks(pyramid, max_bytes=2**20)
    blocks.wait()
    blocks.read(whole, 0)
    blocks.wait()
    n_read = blocks.version
    assert (blocks.read(whole, 0) == 7).all()
    blocks.wait()
    assert blocks.version == n_read == 2 + 15, "each block of two levels once"
    blocks.read((slice(0, 9), slice(0, 9)), 1)
    blocks.wait()
    assert blocks._cache.n_bytes <= 2**20, "what is not seen any more is forgotten"
    assert (blocks.read((slice(1700, 1710), slice(0, 9)), 0) == 7).all(), "as the coarsest level shows it"


def test_a_damaged_part_is_empty_and_told_once(tmp_path: Path) -> None:
    task = get_task("nuclei")
    pyramid = create_pyramid(tmp_path / "l.zarr", GRID, choose_dtype(task), task, "nuclei")
    pyramid.write(np.full((2100, 1500), 7, np.uint32), (slice(0, 2100), slice(0, 1500)))
    (tmp_path / "l.zarr" / "0" / "1" / "1").write_bytes(b"no chunk")
    (level, *_) = make_shown_levels(ReadBlocks(pyramid), [])
    with collect_damage() as damages:
        shown = level[:]
        assert np.array_equal(level[:], shown)
    assert not shown[512:1024, 512:1024].any()
    assert (shown[:512] == 7).all()
    assert len(damages) == 1


def test_many_fields_take_little_memory_and_coarse_levels_unpack_none(tmp_path: Path) -> None:
    task, grid = get_task("nuclei"), ModelGrid(0, 1.0, 20_000, 20_000, 1.0, 0.25)
    pyramid = create_pyramid(tmp_path / "l.zarr", grid, choose_dtype(task), task, "nuclei")
    random = np.random.default_rng(0)
    expected = np.zeros((20_000 // 16, 20_000 // 16), np.int64)
    fields = []
    for number, (y, x) in enumerate([(3, 5), (2016, 31), (4003, 7009), (16_777, 12_345)]):
        drawn = np.repeat(np.repeat(random.integers(0, 3, (25, 25)), 40, 0), 40, 1).astype(np.uint16)
        fields.append(CorrectedField(y, x, 1.0, drawn))
        whole = np.where(drawn > 0, drawn.astype(np.int64) + FIRST_SHOWN_ID + number * 1_000_003, 0)
        rows, columns = np.arange(-(-y // 16), -(-(y + 1000) // 16)), np.arange(-(-x // 16), -(-(x + 1000) // 16))
        expected[np.ix_(rows, columns)] = whole[np.ix_(rows * 16 - y, columns * 16 - x)]
    tracemalloc.start()
    packed = pack_fields(fields, grid, pyramid.dtype, are_objects=True)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    levels = make_shown_levels(ReadBlocks(pyramid), packed)
    assert kept < len(fields) * 200_000, "of 5 MB that each field has unpacked"
    assert np.array_equal(np.asarray(levels[4]), expected)
    assert not levels[4]._unpacked._kept
    assert np.array_equal(levels[0][4003:5003, 7009:8009] > 0, fields[2].labels > 0)


def test_the_number_of_a_huge_object_is_replaced_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_pyramid, "REPLACED_PX", 512)
    task = get_task("nuclei")
    pyramid = create_pyramid(tmp_path / "l.zarr", GRID, choose_dtype(task), task, "nuclei")
    whole = np.zeros((2100, 1500), np.uint32)
    whole[101:2000, 150:160], whole[1401:1413, 151:1490], whole[1500:1600, 500:600] = 5, 5, 6
    everything = (slice(0, 2100), slice(0, 1500))
    pyramid.write(whole, everything)
    tracemalloc.start()
    pyramid.replace(5, 9, (slice(99, 2001), slice(149, 1491)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < whole.nbytes, "read at once, it takes twice as much"
    whole[whole == 5] = 9
    for number in range(3):
        assert np.array_equal(pyramid.read(everything, number), whole[:: 2**number, :: 2**number])
