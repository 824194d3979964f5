"""Every stroke is on disk when it counts, whatever happens to the process, and can be undone for ever."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.project import undo_journal as journal_module
from napari_medseg.core.project.journal_records import MAGIC, has_manual_strokes
from napari_medseg.core.project.strokes import Stroke, StrokeKind
from napari_medseg.core.project.undo_journal import StrokeJournal

PAINTER = """
import sys, time
from pathlib import Path
from napari_medseg.core.project.undo_journal import StrokeJournal
from napari_medseg.core.project.strokes import Stroke, StrokeKind
journal = StrokeJournal(Path(sys.argv[1]))
number = 0
while True:
    journal.add(Stroke.from_voxels(StrokeKind.PAINT, [number, number + 1], 0, 1))
    if number % 10 == 9:
        journal.undo()
    number += 1
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


def paint(indices: object, old: object = 0, new: object = 1) -> Stroke:
    return Stroke.from_voxels(StrokeKind.PAINT, indices, old, new)


def test_stroke_packs_voxels_and_gives_them_back() -> None:
    rng = np.random.default_rng(0)
    indices = np.sort(rng.choice(10_000, 3_000, replace=False))
    old, new = rng.integers(0, 3, 3_000), rng.integers(0, 70_000, 3_000) % 65_536
    stroke = paint(indices, old, new)
    np.testing.assert_array_equal(stroke.indices, indices)
    np.testing.assert_array_equal(stroke.old, old)
    np.testing.assert_array_equal(stroke.new, new)
    shuffled = rng.permutation(3_000)
    again = paint(indices[shuffled], old[shuffled], new[shuffled])
    np.testing.assert_array_equal(again.voxel_runs, stroke.voxel_runs)


def test_voxel_painted_twice_in_a_stroke_keeps_its_first_old_and_last_new_value() -> None:
    stroke = paint([5, 4, 5, 6, 5], [0, 0, 1, 0, 2], [1, 1, 2, 1, 3])
    assert stroke.indices.tolist() == [4, 5, 6]
    assert stroke.old.tolist() == [0, 0, 0]
    assert stroke.new.tolist() == [1, 3, 1]


def test_two_journals_on_one_file_cannot_overwrite_each_other(tmp_path: Path) -> None:
    first, second = StrokeJournal(tmp_path / "1.journal"), StrokeJournal(tmp_path / "1.journal")
    first.add(paint(1))
    with pytest.raises(MedSegError, match="written to by another window"):
        second.add(paint(2))
    first.add(paint(3))
    first.close()
    second.close()
    assert [stroke.indices.tolist() for stroke in StrokeJournal(tmp_path / "1.journal").applied_strokes] == [[1], [3]]


def test_a_large_fill_is_a_small_record(tmp_path: Path) -> None:
    journal = StrokeJournal(tmp_path / "1.journal")
    journal.add(paint(np.arange(10_000_000)))
    journal.close()
    assert (tmp_path / "1.journal").stat().st_size < 100


def test_empty_stroke_has_no_voxels() -> None:
    assert paint([]).indices.size == 0


def test_undo_and_redo_go_on_after_reopening(tmp_path: Path) -> None:
    path = tmp_path / "1.journal"
    journal = StrokeJournal(path)
    for number in range(300):
        journal.add(paint([number]))
    for _ in range(250):
        journal.undo()
    journal.add_seconds(12.5)
    journal.add_seconds(0.5)
    journal.close()

    journal = StrokeJournal(path)
    assert len(journal.applied_strokes) == 50
    assert len(journal.undone_strokes) == 250
    assert journal.seconds == 13.0
    redone = journal.redo()
    assert redone is not None
    assert redone.indices.tolist() == [50]
    for _ in range(51):
        assert journal.undo() is not None
    assert journal.undo() is None
    journal.close()

    journal = StrokeJournal(path)
    assert len(journal.undone_strokes) == 300
    journal.add(paint([1000]))
    assert journal.redo() is None, "a new stroke ends what could be redone"
    journal.close()


def test_kill_9_in_the_middle_of_painting_loses_no_finished_stroke(tmp_path: Path) -> None:
    path = tmp_path / "1.journal"
    with subprocess.Popen([sys.executable, "-c", PAINTER, str(path)], stdout=subprocess.PIPE, text=True) as painter:
        assert painter.stdout is not None
        told = 0
        while told < 200:
            told = int(painter.stdout.readline())
        painter.send_signal(signal.SIGKILL if sys.platform != "win32" else signal.SIGTERM)
        rest = painter.stdout.read().split("\n")[:-1]
        told = int(rest[-1]) if rest else told
    journal = StrokeJournal(path)
    last_whole = max(stroke.indices[0] for stroke in [*journal.applied_strokes, *journal.undone_strokes[:1]])
    assert last_whole >= told - 1
    kept = [int(stroke.indices[0]) for stroke in journal.applied_strokes if stroke.indices[0] < told]
    assert kept == [number for number in range(told) if number % 10 != 9 or number in kept]
    assert len(kept) >= told * 9 // 10
    journal.close()


@pytest.mark.parametrize("n_bytes", [1, 7, 8, 9, 20, 27])
def test_torn_last_record_is_cut_off_and_kept_beside(tmp_path: Path, n_bytes: int) -> None:
    path = tmp_path / "1.journal"
    journal = StrokeJournal(path)
    journal.add(paint([1, 2, 3]))
    whole = path.stat().st_size
    journal.add(paint([7]))
    journal.close()
    torn = path.read_bytes()[: whole + n_bytes]
    path.write_bytes(torn)

    journal = StrokeJournal(path)
    assert [stroke.indices.tolist() for stroke in journal.applied_strokes] == [[1, 2, 3]]
    assert path.with_suffix(".torn").read_bytes() == torn[whole:]
    journal.add(paint([9]))
    journal.close()
    assert [stroke.indices.tolist() for stroke in StrokeJournal(path).applied_strokes] == [[1, 2, 3], [9]]


@pytest.mark.parametrize("place", range(9))
def test_a_damaged_last_undo_is_not_taken_for_one_that_was_cut_off(
    tmp_path: Path, place: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "1.journal"
    journal = StrokeJournal(path)
    journal.add(paint([1, 2, 3]))
    before = path.stat().st_size
    journal.undo()
    journal.close()
    content = path.read_bytes()
    path.write_bytes(content[: before + place] + b"\xc3\x28" + content[before + place :])
    assert len(StrokeJournal(path).applied_strokes) <= 1
    assert "1.journal" in caplog.text, "told"
    assert path.with_name("1.journal.damaged-1").exists()


def test_a_second_torn_record_does_not_overwrite_the_first(tmp_path: Path) -> None:
    path = tmp_path / "1.journal"
    for tail in (b"first", b"second", b"third"):
        journal = StrokeJournal(path)
        journal.add(paint([1]))
        journal.close()
        path.write_bytes(path.read_bytes() + tail)
        StrokeJournal(path)
    kept = [path.with_suffix(end).read_bytes() for end in (".torn", ".torn.damaged-1", ".torn.damaged-2")]
    assert kept == [b"first", b"second", b"third"]


def starts(strokes: list[Stroke]) -> list[int]:
    return [int(stroke.indices[0]) for stroke in strokes]


def write_long_journal(path: Path) -> bytes:
    """269 strokes, 40 of which were undone and 10 redone; the last ones are undone again."""
    journal = StrokeJournal(path)
    for number in range(269):
        journal.add(paint([number, number + 1000]))
        if number % 7 == 3:
            journal.undo()
            journal.add(paint([number, number + 1000]))
            journal.add_seconds(1.0)
    for _ in range(40):
        journal.undo()
    for _ in range(10):
        journal.redo()
    journal.close()
    return path.read_bytes()


def test_one_flipped_bit_costs_one_stroke_at_most(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "1.journal"
    whole = write_long_journal(path)
    before = StrokeJournal(path)
    applied, undone = starts(before.applied_strokes), starts(before.undone_strokes)
    assert (len(applied), len(undone)) == (239, 30)
    rng = np.random.default_rng(0)
    for number, place in enumerate(rng.choice(len(whole), 60, replace=False), start=1):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        journal = StrokeJournal(path)
        now_applied, now_undone = starts(journal.applied_strokes), starts(journal.undone_strokes)
        assert [one for one in applied if one in now_applied] == now_applied, f"another order after {place}"
        assert [one for one in undone if one in now_undone] == now_undone
        assert len(now_applied) + len(now_undone) >= 268, f"byte {place}"
        assert journal.seconds >= before.seconds - 1.0
        assert path.with_name(f"1.journal.damaged-{number}").read_bytes() == damaged, "the damaged file is kept"
        assert len([record for record in caplog.records if record.levelname == "WARNING"]) == number, "told once each"
        again = StrokeJournal(path)
        assert (starts(again.applied_strokes), starts(again.undone_strokes)) == (now_applied, now_undone)
    assert "check the labels before you accept" in caplog.text


def test_the_undo_of_a_lost_stroke_undoes_no_other(tmp_path: Path) -> None:
    path = tmp_path / "1.journal"
    journal = StrokeJournal(path)
    journal.add(paint([1]))
    at = path.stat().st_size
    journal.add(paint([2]))
    journal.undo()
    journal.close()
    data = bytearray(path.read_bytes())
    data[at + 12] ^= 4
    path.write_bytes(data)
    assert starts(StrokeJournal(path).applied_strokes) == [1]


@pytest.mark.parametrize("damage", [b"\0" * 700, b"\xff" * 5, b"\x01\0\0\0" * 40])
@pytest.mark.parametrize("place", [0, 17, 3000])
def test_a_damaged_block_costs_what_lay_in_it(tmp_path: Path, place: int, damage: bytes) -> None:
    path = tmp_path / "1.journal"
    whole = write_long_journal(path)
    n_strokes = 269
    path.write_bytes(whole[:place] + damage + whole[place + len(damage) :])
    assert has_manual_strokes(path)
    journal = StrokeJournal(path)
    n_lost = n_strokes - len(journal.applied_strokes) - len(journal.undone_strokes)
    assert n_lost <= len(damage) // 40 + 2
    journal.add(paint([7]))
    journal.close()
    assert starts(StrokeJournal(path).applied_strokes)[-1] == 7


def test_a_journal_of_zeros_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "1.journal"
    path.write_bytes(b"\0" * 4096)
    assert not has_manual_strokes(path)
    assert StrokeJournal(path).applied_strokes == []
    assert path.with_name("1.journal.damaged-1").read_bytes() == b"\0" * 4096
    assert "1.journal is damaged" in caplog.text


def test_damage_in_a_journal_of_50_mb_is_found_in_seconds(tmp_path: Path) -> None:
    path = tmp_path / "1.journal"
    journal = StrokeJournal(path)
    flat = np.arange(0, 2_000_000, 2)
    for _ in range(2):
        journal.add(paint(flat, np.arange(flat.size) % 3, 1))
    journal.add(paint([5]))
    journal.close()
    data = bytearray(path.read_bytes())
    data[17] ^= 1  # the length of the first stroke
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    began = time.monotonic()
    assert len(StrokeJournal(path).applied_strokes) == 2
    assert time.monotonic() - began < 10


def test_record_of_noise_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "1.journal"
    journal = StrokeJournal(path)
    journal.add(paint([1]))
    journal.add(paint([2]))
    journal.close()
    data = bytearray(path.read_bytes())
    data[-1] ^= 0xFF
    path.write_bytes(data)
    assert [stroke.indices.tolist() for stroke in StrokeJournal(path).applied_strokes] == [[1]]


def test_file_torn_in_its_first_word_is_an_empty_journal(tmp_path: Path) -> None:
    path = tmp_path / "1.journal"
    path.write_bytes(MAGIC[:5])
    journal = StrokeJournal(path)
    assert journal.applied_strokes == []
    journal.add(paint([4]))
    journal.close()
    assert len(StrokeJournal(path).applied_strokes) == 1


def test_other_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "1.journal"
    path.write_bytes(b"P6 a picture, really")
    with pytest.raises(MedSegError, match="not a journal"):
        StrokeJournal(path)
    assert path.read_bytes() == b"P6 a picture, really"


FILLER = """
import resource, signal, sys
from pathlib import Path
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.project.undo_journal import StrokeJournal
from napari_medseg.core.project.strokes import Stroke, StrokeKind
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
journal = StrokeJournal(Path(sys.argv[1]))
try:
    while True:
        journal.add(Stroke.from_voxels(StrokeKind.PAINT, [1, 3, 5], 0, 1))
except MedSegError as error:
    sys.stdout.write(f"{len(journal.applied_strokes)} {error}")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a limit on the size of files is POSIX")
def test_full_disk_is_told_and_the_stroke_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "1.journal"
    answer = subprocess.run([sys.executable, "-c", FILLER, str(path)], capture_output=True, text=True, check=True)
    n_done, message = answer.stdout.split(" ", 1)
    assert "not saved" in message
    journal = StrokeJournal(path)
    assert len(journal.applied_strokes) == int(n_done) > 5
    assert not path.with_suffix(".torn").exists(), "the half-written record was taken back at once"
    journal.close()


def test_half_a_record_that_a_full_disk_left_is_gone_before_the_next_stroke(tmp_path: Path) -> None:
    path = tmp_path / "1.journal"
    journal = StrokeJournal(path)
    journal.add(paint([1]))
    with path.open("ab") as file:
        file.write(b"half a record that could not be cut off again")
    journal.add(paint([2]))
    journal.close()
    assert [stroke.indices.tolist() for stroke in StrokeJournal(path).applied_strokes] == [[1], [2]]


def test_sync_follows_within_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[float] = []
    fsync = journal_module.os.fsync

    def watched_fsync(descriptor: int) -> None:
        fsync(descriptor)
        synced.append(time.monotonic())

    monkeypatch.setattr(journal_module.os, "fsync", watched_fsync)
    journal = StrokeJournal(tmp_path / "1.journal")
    began = time.monotonic()
    journal.add(paint([1]))
    assert synced == [], "a stroke does not wait for the disk"
    while not synced and time.monotonic() - began < 5:
        time.sleep(0.01)
    assert synced[0] - began < 1.0
    journal.close()


def test_a_stroke_of_a_large_brush_is_written_in_20_ms(tmp_path: Path) -> None:
    shape = (300, 512, 512)
    z, y, x = np.ogrid[-20:20, -20:20, -20:20]
    ball = np.argwhere(z**2 + y**2 + x**2 < 400) + np.array((100, 200, 200))
    indices = np.ravel_multi_index(tuple(ball.T), shape)
    journal = StrokeJournal(tmp_path / "1.journal")
    seconds = []
    for _ in range(20):
        began = time.perf_counter()
        journal.add(paint(indices, np.zeros(indices.size, np.uint8), 1))
        seconds.append(time.perf_counter() - began)
    journal.close()
    assert float(np.median(seconds)) < 0.020


def test_only_a_persons_strokes_make_a_draft(tmp_path: Path) -> None:
    path = tmp_path / "1.journal"
    assert not has_manual_strokes(path)
    journal = StrokeJournal(path)
    journal.add(Stroke.from_voxels(StrokeKind.CARRIED_OVER, [1, 2], 0, 1))
    journal.add_seconds(3.0)
    journal.add(Stroke.from_voxels(StrokeKind.PREDICTION, [8], 0, 1, model="lungs-unet@2"))
    journal.sync()
    assert not has_manual_strokes(path)
    journal.add(paint([3]))
    journal.close()
    assert has_manual_strokes(path)
    assert [stroke.model for stroke in StrokeJournal(path).applied_strokes] == ["", "lungs-unet@2", ""]
