"""The whole run, in the process of the test; `test_run_folder` and `tests/cli/train` have runs of their own process."""

import itertools
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from training_phantoms import item, small_card

from napari_medseg.core.atomic_io import compute_file_sha256
from napari_medseg.core.model_card import InstanceSeparation, read_card
from napari_medseg.core.snapshot import Box, Role
from napari_medseg.core.tasks.bundled_tasks import TASKS
from napari_medseg.networks import build_network, load_version, save_version
from training.__main__ import main, run
from training.evaluation.hold_out_evaluation import EvaluationRequest
from training.evaluation.model_evaluation import evaluate_hold_out
from training.run_control import FINAL_WORK_S, resume
from training.run_folder import (
    CANCEL_FILE,
    CHECKPOINT_FILE,
    Compared,
    EpochEnded,
    Event,
    Failed,
    Finished,
    Notice,
    Started,
    append_event,
    read_events,
)
from training.run_setup import read_setup

MakeRun = Callable[..., Path]


def events_of(run_dir: Path) -> list[Event]:
    return [event for event, _ in read_events(run_dir)]


def test_a_run_learns_compares_and_leaves_a_version(make_run: MakeRun, base_version: Path) -> None:
    run_dir = make_run(n_epochs=10, steps_per_epoch=6)
    assert main([str(run_dir)]) == 0
    events = events_of(run_dir)
    assert isinstance(events[0], Started)
    assert (events[0].n_train, events[0].n_replay, events[0].n_hold_out) == (4, 1, 3)
    compared = [event for event in events if isinstance(event, Compared)]
    assert {event.case for event in compared} == {"held0", "held1", "held2"}
    assert all(event.new > event.old + 0.3 for event in compared)
    assert isinstance(events[-1], Finished)
    card = read_card(run_dir / "card.json")
    assert card.version == 2
    assert card.lineage.parent == "lungs-unet@1"
    assert card.lineage.n_corrections == 4
    assert card.weights_sha256 == compute_file_sha256(run_dir / "model.safetensors")
    assert card.hold_out[0].n_images == 3
    assert card.hold_out[0].mean == pytest.approx(sum(event.new for event in compared) / 3)
    assert card.calibration.n_images == 3, "its own, not the parent's"
    assert f"calibration error {card.calibration.ece:.4f}" in (run_dir / "report.html").read_text()
    report = (run_dir / "report.html").read_text()
    assert report.count("<svg") == 4, "loss, validation, rate and calibration"
    assert report.count("<img") == 3
    assert not (run_dir / CHECKPOINT_FILE).exists()
    before = (run_dir / "events.jsonl").read_bytes()
    assert main([str(run_dir)]) == 0, "a finished run is left alone"
    assert (run_dir / "events.jsonl").read_bytes() == before


def test_same_seed_same_weights_other_seed_others(make_run: MakeRun) -> None:
    runs = [make_run("a", seed=5), make_run("b", seed=5), make_run("c", seed=6)]
    for run_dir in runs:
        assert main([str(run_dir)]) == 0
    first, again, other = (compute_file_sha256(run_dir / "model.safetensors") for run_dir in runs)
    assert first == again != other


def test_a_killed_run_goes_on_to_the_same_result(make_run: MakeRun) -> None:
    whole, killed = make_run("whole", n_epochs=4, ema_decay=0.5), make_run("killed", n_epochs=4, ema_decay=0.5)
    assert main([str(whole)]) == 0
    for event in run(killed, time.monotonic()):
        append_event(killed, event)
        if isinstance(event, EpochEnded) and event.epoch == 2:
            break
    assert main([str(killed)]) == 0
    assert compute_file_sha256(whole / "model.safetensors") == compute_file_sha256(killed / "model.safetensors")
    epochs = [event.epoch for event in events_of(killed) if isinstance(event, EpochEnded)]
    assert epochs == [1, 2, 3, 4]


def test_cancelled_keeps_the_best_so_far(make_run: MakeRun) -> None:
    run_dir = make_run(n_epochs=200)
    for event in run(run_dir, time.monotonic()):
        append_event(run_dir, event)
        if isinstance(event, EpochEnded) and event.epoch == 3:
            (run_dir / CANCEL_FILE).touch()
    last = events_of(run_dir)[-1]
    assert isinstance(last, Finished)
    assert last.cancelled
    assert last.best_epoch > 0
    assert sum(isinstance(event, EpochEnded) for event in events_of(run_dir)) == 3


def test_the_budget_is_kept_and_used(make_run: MakeRun) -> None:
    run_dir = make_run(n_epochs=10_000, steps_per_epoch=2, budget_s=10.0, patience=10_000)
    requested = time.time() - 3.0  # such as the start of the window's process
    assert main([str(run_dir), "--since", repr(requested)]) == 0
    events = events_of(run_dir)
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Finished)
    assert events[0].time == pytest.approx(requested, abs=0.2)
    assert 10.0 * 0.65 < events[-1].seconds <= time.time() - requested < 10.0 * 1.02
    assert sum(isinstance(event, EpochEnded) for event in events) > 3


def test_a_budget_that_start_up_uses_up_says_so(make_run: MakeRun) -> None:
    run_dir = make_run(n_epochs=5, budget_s=10.0)
    assert main([str(run_dir), "--since", repr(time.time() - 30.0)]) == 0
    events = events_of(run_dir)
    assert any(isinstance(event, Notice) and "leaves no time to train: 3" in event.text for event in events)
    assert not any(isinstance(event, EpochEnded) for event in events)


@pytest.mark.parametrize("wrong", [["--since", "soon"], ["--until", "5"], ["--since"]])
def test_a_wrong_command_line_says_how_to_start_a_run(
    wrong: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path), *wrong]) == 2
    assert "usage: python -P -m training RUN_DIR" in capsys.readouterr().err


def test_a_resumed_run_reserves_time_for_its_last_validation(make_run: MakeRun) -> None:
    run_dir = make_run(n_epochs=2, steps_per_epoch=1, budget_s=600.0)
    next(event for event in run(run_dir, time.monotonic()) if isinstance(event, EpochEnded))
    setup = read_setup(run_dir, time.monotonic())
    progress = resume(setup).progress
    assert progress.epoch == 1
    assert setup.time_budget.reserved_s == pytest.approx(FINAL_WORK_S + 1.5 * progress.validation_s)
    assert progress.validation_s > 0


def test_weights_that_explode_leave_the_old_version(make_run: MakeRun, base_version: Path) -> None:
    run_dir = make_run(learning_rate=1e38, n_epochs=6, schedule="constant")
    assert main([str(run_dir)]) == 0
    events = events_of(run_dir)
    assert any(isinstance(event, Notice) and "not finite any more" in event.text for event in events)
    assert all(event.new == pytest.approx(event.old) for event in events if isinstance(event, Compared))
    assert compute_file_sha256(run_dir / "model.safetensors") == compute_file_sha256(base_version / "model.safetensors")


def test_one_correction_without_replay_or_hold_out_is_enough(make_run: MakeRun, tmp_path: Path) -> None:
    run_dir = make_run(items=[item(tmp_path, "only", Role.TRAIN)])
    assert main([str(run_dir)]) == 0
    events = events_of(run_dir)
    assert isinstance(events[-1], Finished)
    assert any(isinstance(event, Notice) and "too few" in event.text for event in events)
    assert not any(isinstance(event, Compared) for event in events)


@pytest.mark.parametrize(
    ("roles", "words"),
    [
        ([Role.TRAIN, Role.HOLD_OUT], "belongs to one side only"),
        ([Role.HOLD_OUT], "no correction to learn from"),
    ],
)
def test_a_split_that_leaks_or_holds_nothing_is_refused(
    make_run: MakeRun, tmp_path: Path, roles: list[Role], words: str
) -> None:
    items = [item(tmp_path, f"case{n}", role, group="one patient") for n, role in enumerate(roles)]
    run_dir = make_run(items=items)
    assert main([str(run_dir)]) == 1
    last = events_of(run_dir)[-1]
    assert isinstance(last, Failed)
    assert words in last.message


def test_many_patients_spare_some_for_validation(make_run: MakeRun, tmp_path: Path) -> None:
    items = [item(tmp_path, f"case{n}", Role.TRAIN, seed=n) for n in range(10)]
    run_dir = make_run(items=items, n_epochs=1, steps_per_epoch=1)
    started = next(iter(run(run_dir, time.monotonic())))
    assert isinstance(started, Started)
    assert (started.n_train, started.n_validate) == (8, 2)


def test_hold_out_images_reach_no_batch(make_run: MakeRun, tmp_path: Path) -> None:
    run_dir = make_run()
    setup = read_setup(run_dir, time.monotonic())
    learnt = {image.name for image in itertools.chain(setup.batches.train, setup.batches.replay)}
    assert learnt == {"train0", "train1", "train2", "train3", "old"}


def test_a_run_learns_from_the_part_that_was_looked_at_alone(make_run: MakeRun, tmp_path: Path) -> None:
    box = Box(top=0, bottom=64, left=0, right=40)
    part = [item(tmp_path, f"p{n}", Role.TRAIN, seed=n).model_copy(update={"reviewed": box}) for n in range(3)]
    spoilt = []
    for one in part:
        labels = tifffile.imread(tmp_path / one.labels)
        labels[:, 40:] = 2  # nobody looked here, so that it must not matter
        tifffile.imwrite(tmp_path / f"spoilt_{one.labels}", labels)
        spoilt.append(one.model_copy(update={"labels": f"spoilt_{one.labels}"}))
    settings = {"n_epochs": 2, "augmentation": "cutmix", "loss": [{"name": "dice"}, {"name": "boundary"}]}
    runs = [make_run("part", items=part, **settings), make_run("spoilt", items=spoilt, **settings)]
    for run_dir in runs:
        assert main([str(run_dir)]) == 0
    first, again = (compute_file_sha256(run_dir / "model.safetensors") for run_dir in runs)
    assert first == again
    losses = [[one.train_loss for one in events_of(run_dir) if isinstance(one, EpochEnded)] for run_dir in runs]
    assert losses[0] == losses[1]


def test_a_run_goes_through_all_windows(make_run: MakeRun) -> None:
    run_dir = make_run(sampling="windows", window_overlap_px=8, batch_size=3, augmentation="none")
    batches = read_setup(run_dir, time.monotonic()).batches
    assert len(batches.windows) == 4  # four images of one window each
    assert batches.steps_per_pass == 2
    seen = {patch.numpy().tobytes() for step in range(2) for patch in batches.make_batch(step)[0][batches.n_replayed :]}
    assert len(seen) == 4


def test_class_weights_come_from_what_is_learnt(make_run: MakeRun) -> None:
    run_dir = make_run(class_weights="inverse_frequency", loss="cross_entropy")
    setup = read_setup(run_dir, time.monotonic())
    labels = torch.from_numpy(np.stack([image.planes[0].labels for image in setup.batches.train])).long()
    logits = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    counts = torch.bincount(labels.flatten(), minlength=3)
    expected = torch.nn.functional.cross_entropy(logits, labels, counts.sum() / (3 * counts))
    torch.testing.assert_close(setup.learner.loss(logits, labels), expected)


def test_a_wrong_command_line_says_how_to_use_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main([]) == 2
    assert main([str(tmp_path / "nowhere")]) == 2
    assert "RUN_DIR" in capsys.readouterr().err


def test_a_label_that_the_model_did_not_know_is_learnt(make_run: MakeRun, tmp_path: Path) -> None:
    lesions = small_card().model_copy(update={"task": "covid", "name": "covid-unet"})
    base = tmp_path / "lesions"
    save_version(build_network(lesions.architecture), lesions, base)
    items = [item(tmp_path, f"train{n}", Role.TRAIN, seed=n) for n in range(3)]
    for one in items:
        path = tmp_path / one.labels
        tifffile.imwrite(path, np.where(tifffile.imread(path) == 2, 3, 1).astype(np.uint8))
    run_dir = make_run(items=items, base_folder=base, task="covid", n_epochs=2, average_with_parent=0.3)
    assert main([str(run_dir)]) == 0
    card = read_card(run_dir / "card.json")
    assert card.architecture.classes == TASKS["covid"].n_classes == 4
    network, _ = load_version(run_dir)
    assert network(torch.zeros(1, 1, 64, 64)).shape == (1, 4, 64, 64)


def test_instances_are_learnt_as_depth_and_compared_as_objects(make_run: MakeRun, tmp_path: Path) -> None:
    small = small_card()
    card = small.model_copy(
        update={
            "task": "nuclei",
            "name": "nuclei-unet",
            "architecture": small.architecture.model_copy(update={"classes": 4}),
            "instances": InstanceSeparation(levels=[0.0, 0.3, 0.6]),
        }
    )
    base = tmp_path / "nuclei"
    save_version(build_network(card.architecture), card, base)
    items = [item(tmp_path, f"train{n}", Role.TRAIN, seed=n) for n in range(3)]
    items.append(item(tmp_path, "held", Role.HOLD_OUT, seed=9))
    for one in items:
        path = tmp_path / one.labels
        tifffile.imwrite(path, tifffile.imread(path).astype(np.uint32) * 70_000)
    run_dir = make_run(items=items, base_folder=base, task="nuclei", n_epochs=8, steps_per_epoch=6)
    assert main([str(run_dir)]) == 0
    scores = {score.metric: score for score in read_card(run_dir / "card.json").hold_out}
    assert scores.keys() == {"Dice", "AJI", "PQ", "F1 of objects"}
    assert scores["Dice"].mean > 0.5
    (compared,) = (event for event in events_of(run_dir) if isinstance(event, Compared))
    assert (compared.metric, compared.group) == ("AJI", "held")
    assert compared.new == pytest.approx(scores["AJI"].mean)
    assert (run_dir / "worst_case.png").exists()
    request = EvaluationRequest(labels_by="construction")
    assert evaluate_hold_out(run_dir, request).hold_out[0].labels_by == "construction"
    judged = read_card(run_dir / "card.json")
    assert judged.calibration.ece is not None
    assert 0 <= judged.calibration.ece <= 1
    assert (run_dir / "evaluation.html").exists()


@pytest.mark.parametrize("is_full", [False, True])
def test_a_run_with_nothing_to_learn_is_refused(make_run: MakeRun, tmp_path: Path, *, is_full: bool) -> None:
    items = [item(tmp_path, f"train{n}", Role.TRAIN, seed=n) for n in range(2)]
    for one in items:
        tifffile.imwrite(tmp_path / one.labels, np.full((64, 64), int(is_full), np.uint8))
    run_dir = make_run(items=items)
    assert main([str(run_dir)]) == 1
    (event,) = events_of(run_dir)
    assert isinstance(event, Failed)
    assert event.message.startswith("there is nothing to learn: ")
    replayed = [*items, item(tmp_path, "old", Role.REPLAY, seed=20)]
    assert read_setup(make_run("replayed", items=replayed), 0.0).batches.n_replayed, "older images still teach"
