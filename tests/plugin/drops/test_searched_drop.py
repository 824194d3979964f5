"""Dropped paths are looked at without the window waiting for a slow disk."""

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.formats import ReadFailure
from napari_medseg.plugin.drops import searched_drop


def test_a_share_that_does_not_answer_holds_up_no_drop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on = threading.Event()

    def hang(_path: Path) -> bool:
        return goes_on.wait(60)

    monkeypatch.setattr(formats, "can_read", hang)
    assert searched_drop.may_hold_images([tmp_path / "a.png"]), "known by its name"
    assert searched_drop.may_hold_images([tmp_path / "series"]), "read in a thread, which reports what it is"
    goes_on.set()


def test_what_is_no_image_is_left_to_napari(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    assert not searched_drop.may_hold_images([tmp_path / "notes.txt"])
    assert not searched_drop.may_hold_images([])


def test_files_that_are_shown_piece_by_piece_are_found_in_the_thread_and_opened_by_the_window(tmp_path: Path) -> None:
    video, image, opened = tmp_path / "a.mp4", tmp_path / "b.png", list[Path]()

    def fail(_paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
        raise MedSegError("the share does not answer")

    openers = [(fail, opened.extend), (lambda paths: (paths[1:], paths[:1]), opened.extend)]
    failure, parted, found = searched_drop.split_drop([image, video], openers, lambda rest: iter([list(rest)]))
    assert (failure, found, opened) == (ReadFailure("the share does not answer"), [image], [])
    ((open_files, files),) = parted.own
    open_files(files)
    assert (opened, parted.others) == ([video], [image])
