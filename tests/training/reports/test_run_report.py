"""The report of a run: all that the issue asks for, in one file without scripts."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from training.__main__ import main
from training.run_folder import EpochEnded, read_events

MakeRun = Callable[..., Path]
VOID = {"meta", "img"}


class Structure(HTMLParser):
    """Checks that tags close in order, and collects their names and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture
def page(make_run: MakeRun) -> tuple[str, Structure]:
    run_dir = make_run(keep="cycles", n_epochs=4, n_cycles=2)
    assert main([str(run_dir)]) == 0
    text = (run_dir / "report.html").read_text(encoding="utf-8")
    structure = Structure()
    structure.feed(text)
    assert structure.open == []
    return text, structure


def test_it_is_one_file_without_scripts(page: tuple[str, Structure]) -> None:
    text, structure = page
    assert "script" not in structure.seen
    assert not re.findall(r'(?:src|href)="(?!data:)', text)
    assert "http" not in text


def test_it_shows_curves_intervals_pictures_and_calibration(page: tuple[str, Structure]) -> None:
    _, structure = page
    words = " ".join(structure.words)
    titles = ("Training loss", "Validation Dice", "Learning rate", "calibration error")
    assert all(title in words for title in titles)
    assert structure.seen.count("svg") == 4
    assert structure.seen.count("img") == 3, "each of three hold-out cases once"
    for label in ("right lung", "left lung", "mean of labels"):
        assert label in words
    assert re.search(r"0\.\d{4} to 0\.\d{4}", words)
    assert re.search(r"[+-]0\.\d{4} to [+-]0\.\d{4}", words), "the change has an interval too"
    assert "ensemble of the cycles" in words
    assert "best epoch" in words
    assert "Old is lungs-unet@1, new is lungs-unet@2." in words


def test_weights_that_change_are_shown_over_the_run(make_run: MakeRun) -> None:
    loss = [{"name": "dice", "trainable": True}, {"name": "focal", "schedule": "rising"}, {"name": "focal"}]
    run_dir = make_run(loss=loss, n_epochs=3)
    assert main([str(run_dir)]) == 0
    epochs = [event.loss_weights for event, _ in read_events(run_dir) if isinstance(event, EpochEnded)]
    assert [weights["focal"] for weights in epochs] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert [weights["focal 3"] for weights in epochs] == [1.0, 1.0, 1.0]
    assert len({1.0, *(weights["dice"] for weights in epochs)}) == 4, "learnt, and shown as it was at each time"
    page = (run_dir / "report.html").read_text(encoding="utf-8")
    assert all(f"Weight of {name} in the loss" in page for name in epochs[0])


def test_without_a_hold_out_it_says_so(make_run: MakeRun, tmp_path: Path) -> None:
    from training_phantoms import item

    from napari_medseg.core.snapshot import Role

    run_dir = make_run(items=[item(tmp_path, "only", Role.TRAIN)], n_epochs=1)
    assert main([str(run_dir)]) == 0
    assert "The hold-out is empty" in (run_dir / "report.html").read_text()
