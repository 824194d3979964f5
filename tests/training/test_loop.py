"""Losses that are no number: left out, then at a lower rate from the best so far, at last a clear end."""

import errno
import os
import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from napari_medseg.core import atomic_io
from training.augmentation.patch_batch import PatchBatch
from training.checkpoint import load_best
from training.data.dataset import BatchSampler
from training.loop import train
from training.run_control import resume
from training.run_folder import BEST_FILE, CHECKPOINT_FILE, EpochEnded, Event, Notice
from training.run_setup import TrainingSetup, read_setup

MakeRun = Callable[..., Path]


class SpoiltBatches(BatchSampler):
    """Batches of which some have no number in them."""

    spoilt: range = range(0)

    def sample_batch(self, step: int) -> PatchBatch:
        drawn = super().sample_batch(step)
        spoilt = tuple(part * torch.nan for part in drawn.pixels)
        return replace(drawn, pixels=spoilt) if step in self.spoilt else drawn


def trained(run_dir: Path, spoilt: range) -> tuple[TrainingSetup, list[Event]]:
    setup = read_setup(run_dir, time.monotonic())
    batches = SpoiltBatches(**{each.name: getattr(setup.batches, each.name) for each in fields(setup.batches)})
    object.__setattr__(batches, "spoilt", spoilt)
    setup = replace(setup, batches=batches)
    return setup, list(train(resume(setup)))


def notices(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Notice)]


def test_a_batch_without_a_number_is_left_out_and_said(make_run: MakeRun) -> None:
    _, events = trained(make_run(n_epochs=2), range(1, 2))
    assert any("1 of 4 batches had no finite loss and were skipped" in text for text in notices(events))
    assert sum(isinstance(event, EpochEnded) for event in events) == 2
    assert not any("learning rate" in text for text in notices(events))


def test_several_in_a_row_lower_the_rate_and_go_back_to_the_best(make_run: MakeRun) -> None:
    setup, events = trained(make_run(n_epochs=3, schedule="constant"), range(4, 7))
    assert sum("a tenth of the learning rate" in text for text in notices(events)) == 1
    rates = {event.epoch: event.rate for event in events if isinstance(event, EpochEnded)}
    assert rates[1] == pytest.approx(5e-3)
    assert rates[3] == pytest.approx(5e-4)
    assert all(torch.isfinite(tensor).all() for tensor in load_best(setup.run_dir).values())


def test_at_last_it_ends_with_the_best_so_far(make_run: MakeRun) -> None:
    setup, events = trained(make_run(n_epochs=50), range(4, 10_000))
    texts = notices(events)
    assert sum("a tenth of the learning rate" in text for text in texts) == 3
    assert any("not finite any more" in text for text in texts)
    assert sum(isinstance(event, EpochEnded) for event in events) <= 5
    assert all(torch.isfinite(tensor).all() for tensor in load_best(setup.run_dir).values())


def test_the_last_epoch_is_not_kept_where_it_learnt_nothing(make_run: MakeRun) -> None:
    _, events = trained(make_run(n_epochs=3, keep="last"), range(8, 12))
    assert [event.best for event in events if isinstance(event, EpochEnded)] == [True, True, False]


def test_the_loop_fits_on_a_screen() -> None:
    source = Path(__file__).parents[2] / "training" / "loop.py"
    assert source.read_text(encoding="utf-8").count("\n") <= 40


@pytest.mark.parametrize("name", [CHECKPOINT_FILE, BEST_FILE])
def test_a_checkpoint_that_cannot_be_written_is_a_notice(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    control = resume(read_setup(make_run(n_epochs=3), time.monotonic()))
    replace = os.replace

    def refuse(source: Path, target: Path) -> None:
        if Path(target).name == name:
            raise PermissionError(errno.EACCES, "The file is being used by another process", str(target))
        replace(source, target)

    monkeypatch.setattr(atomic_io, "HELD_S", 0.0)
    monkeypatch.setattr(os, "replace", refuse)
    events = list(train(control))
    assert [event.epoch for event in events if isinstance(event, EpochEnded)] == [1, 2, 3]
    (text,) = (text for text in notices(events) if name in text)
    assert text.startswith("training goes on, but ")
    assert "used by another process" in text
    assert name == CHECKPOINT_FILE or control.progress.best_epoch == 0, "weights that are not kept are not the best"
