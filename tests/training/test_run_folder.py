"""A run that is told to end, from inside of an epoch, goes on later as if nothing had happened."""

import ast
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from held_files import OPEN_FILES, refuse_held_files

from napari_medseg.core.atomic_io import atomic_write_text, compute_file_sha256
from napari_medseg.core.errors import MedSegError
from training import run_control, run_folder
from training.__main__ import main, run
from training.checkpoint import TrainingProgress, read_progress
from training.learner import Learner
from training.run_folder import (
    CANCEL_FILE,
    CHECKPOINT_FILE,
    EVENTS_FILE,
    PAUSE_FILE,
    TRAINER_LOCK_FILE,
    EpochEnded,
    Event,
    Failed,
    Finished,
    Notice,
    Paused,
    Started,
    append_event,
    has_trainer,
    hold_trainer_lock,
    is_paused,
    pause_on_signals,
    read_events,
)

MakeRun = Callable[..., Path]
OF_CORE = {"card.json", "model.safetensors", "older.json", "snapshot.json", "worst_case.png"}


def events_of(run_dir: Path) -> list[Event]:
    return [event for event, _ in read_events(run_dir)]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_a_signal_is_a_wish_to_pause(tmp_path: Path, name: str) -> None:
    before = signal.getsignal(getattr(signal, name))
    (tmp_path / PAUSE_FILE).touch()
    with pause_on_signals(tmp_path):
        assert not is_paused(tmp_path), "a wish of an earlier process is forgotten"
        os.kill(os.getpid(), getattr(signal, name))
        assert is_paused(tmp_path)
    assert signal.getsignal(getattr(signal, name)) == before
    (tmp_path / CANCEL_FILE).touch()
    assert not is_paused(tmp_path), "what is cancelled ends for good"


def test_a_second_trainer_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    append_event(tmp_path, Paused(1, 13, 6.0))
    (tmp_path / PAUSE_FILE).touch()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with hold_trainer_lock(tmp_path):
        assert has_trainer(tmp_path)
        assert main([str(tmp_path)]) == 1
    (tmp_path / TRAINER_LOCK_FILE).unlink()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert not has_trainer(tmp_path)
    assert "still under way in another process" in capsys.readouterr().err


def test_a_failure_says_that_its_checkpoint_is_kept(tmp_path: Path) -> None:
    assert main([str(tmp_path)]) == 1
    (tmp_path / CHECKPOINT_FILE).touch()
    assert main([str(tmp_path)]) == 1
    first, second = events_of(tmp_path)
    assert isinstance(first, Failed)
    assert isinstance(second, Failed)
    assert second.message == f"{first.message} Then continue the run: its checkpoint is kept."


@pytest.mark.renames_open_folders
def test_a_trainer_does_not_write_where_its_folder_was(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    with hold_trainer_lock(run_dir):
        run_dir.rename(tmp_path / "renamed")
        with pytest.raises(MedSegError, match="Continue the run where it is now"):
            atomic_write_text(run_dir / "split.json", "{}")
    assert [path.name for path in tmp_path.iterdir()] == ["renamed"]
    assert not has_trainer(tmp_path / "renamed")
    run_dir.mkdir()
    atomic_write_text(run_dir / "split.json", "{}")  # it is watched no more


def test_the_processes_of_a_team_share_the_lock_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with hold_trainer_lock(tmp_path):
        monkeypatch.setenv("RANK", "1")
        with hold_trainer_lock(tmp_path):
            assert has_trainer(tmp_path)


def test_a_run_stopped_by_a_signal_goes_on_to_the_same_result(make_run: MakeRun) -> None:
    recipe = {"n_epochs": 2, "steps_per_epoch": 32, "ema_decay": 0.5}
    whole, paused = make_run("whole", **recipe), make_run("paused", checkpoint_every_steps=2, **recipe)
    assert main([str(whole)]) == 0
    command = [sys.executable, "-P", "-m", "training", str(paused)]
    process = subprocess.Popen(command, cwd=paused, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (paused / CHECKPOINT_FILE).exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 3
    assert "Paused" in (paused / "log.txt").read_text()
    last = events_of(paused)[-1]
    assert isinstance(last, Paused)
    assert last.step % 32 > 0, "it did not wait for the end of an epoch"
    assert main([str(paused)]) == 0
    assert isinstance(events_of(paused)[-1], Finished)
    assert compute_file_sha256(whole / "model.safetensors") == compute_file_sha256(paused / "model.safetensors")
    epochs = [[event for event in events_of(each) if isinstance(event, EpochEnded)] for each in (whole, paused)]
    assert [event.train_loss for event in epochs[0]] == [event.train_loss for event in epochs[1]]


class Killed(BaseException):
    """Nothing handles it, as nothing handles SIGKILL; `tests/endurance` kills real processes."""


def test_a_run_killed_within_an_epoch_goes_on_from_its_last_steps(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = {"n_epochs": 2, "steps_per_epoch": 6}
    whole, killed = make_run("whole", **recipe), make_run("killed", checkpoint_every_steps=2, **recipe)
    assert main([str(whole)]) == 0
    save = run_control.save_checkpoint

    def save_then_die(run_dir: Path, learner: Learner, progress: TrainingProgress) -> None:
        save(run_dir, learner, progress)
        if progress.step == 4:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(run_control, "save_checkpoint", save_then_die)
        with pytest.raises(Killed):
            main([str(killed)])
    assert (read_progress(killed).epoch, read_progress(killed).step) == (0, 4)
    assert main([str(killed)]) == 0
    assert compute_file_sha256(whole / "model.safetensors") == compute_file_sha256(killed / "model.safetensors")


def test_checkpoints_come_by_the_clock_too(make_run: MakeRun) -> None:
    run_dir = make_run(n_epochs=1, steps_per_epoch=3, checkpoint_every_s=1e-3)
    steps = []
    for event in run(run_dir, time.monotonic()):
        append_event(run_dir, event)
        if isinstance(event, EpochEnded):
            steps.append(read_progress(run_dir).step)
    assert steps == [3]


def test_a_pause_while_the_hold_out_is_compared_loses_nothing(make_run: MakeRun) -> None:
    whole, paused = make_run("whole"), make_run("paused")
    assert main([str(whole)]) == 0
    for event in run(paused, time.monotonic()):
        append_event(paused, event)
        if isinstance(event, EpochEnded) and event.epoch == 3:
            (paused / PAUSE_FILE).touch()
    assert isinstance(events_of(paused)[-1], Paused)
    assert not (paused / "report.html").exists()
    assert main([str(paused)]) == 0
    assert compute_file_sha256(whole / "model.safetensors") == compute_file_sha256(paused / "model.safetensors")


def list_strings(path: Path) -> set[str]:
    """All strings of a source file but docstrings, which may tell what is in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documents = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in documents)
    return {node.value for node in constants if isinstance(node.value, str)}


def test_the_names_of_its_files_are_written_in_one_place() -> None:
    names = {value for name, value in vars(run_folder).items() if name.endswith(("_FILE", "_PATTERN")) and "." in value}
    assert {"recipe.json", "snapshot.json", "model.safetensors", "events.jsonl", "doubt.txt"} <= names
    root = Path(run_folder.__file__).parents[1]
    sources = [path for package in ("training", "napari_medseg") for path in (root / package).rglob("*.py")]
    used = {path.relative_to(root): sorted(names & list_strings(path)) for path in sources}
    assert {path.as_posix(): found for path, found in used.items() if found} == {
        "training/run_folder.py": sorted(names - OF_CORE),
        "napari_medseg/core/model_card.py": ["card.json", "model.safetensors", "worst_case.png"],
        "napari_medseg/core/replay.py": ["older.json"],
        "napari_medseg/workflow/report/write.py": ["report.html"],  # of a project, in a folder of the user
        "napari_medseg/core/snapshot.py": ["snapshot.json"],
        "napari_medseg/networks/pretrained.py": ["model.safetensors"],  # what the Hugging Face hub calls it
        "napari_medseg/inference/portable/smp_weights.py": ["model.safetensors"],  # the same
        "training/reports/evaluation_report.py": ["evaluation.html"],  # its template
    }


SAID = (Started(1, 0, 1, 0, "cpu", None, 1.5), EpochEnded(1, 2, 0.5, 0.75, True, 3.0, 4.0), Notice("grüße"))


@pytest.fixture
def said(tmp_path: Path) -> Path:
    for event in SAID:
        append_event(tmp_path, event)
    return tmp_path / EVENTS_FILE


def test_a_torn_last_line_costs_itself_only(said: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = said.read_bytes()
    for n_bytes in range(len(whole) - 20, len(whole)):
        said.write_bytes(whole[:n_bytes])
        append_event(said.parent, Notice("the run is resumed"))
        kept = SAID if n_bytes == len(whole) - 1 else SAID[:2]
        assert events_of(said.parent) == [*kept, Notice("the run is resumed")]
    assert "is damaged at byte" in caplog.text


DAMAGED_LINES = [
    b"\xff\xfe\n",
    b'{"event": "Notice", "text": "gr\xc3"}\n',
    b"\0" * 512 + b"\n",
    b'{"event": "Nonsense"}\n',
    b'{"event": "Notice"}\n',
    b'{"event": "Notice", "text": "a", "texu": "b"}\n',
    b'{"event": "Notice", "text": null}\n',
    b'{"event": ["Notice"], "text": "a"}\n',
    b'{"event": "Paused", "epoch": "many", "step": 1, "seconds": 2.0}\n',
    b'{"event": "Paused", "epoch": 1e999, "step": 1, "seconds": 2.0}\n',
    b"[" * 100_000 + b"\n",
    b"9" * 5000 + b"\n",
    b"null\n",
    b'"Notice"\n',
]


@pytest.mark.parametrize("line", DAMAGED_LINES)
def test_a_damaged_line_is_named_once_and_the_others_are_read(
    said: Path, line: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    lines = said.read_bytes().splitlines(keepends=True)
    said.write_bytes(b"".join([lines[0], line, *lines[1:]]))
    for _ in range(70):
        assert events_of(said.parent) == list(SAID)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"{EVENTS_FILE} is damaged at byte {len(lines[0])}" in caplog.text
    assert "skipped" in caplog.text
    assert said.read_bytes().splitlines(keepends=True)[1] == line, "nothing is removed"


def test_blank_lines_and_other_numbers_are_no_damage(said: Path, caplog: pytest.LogCaptureFixture) -> None:
    line = (
        b'{"event": "EpochEnded", "epoch": 2, "n_epochs": 2, "train_loss": NaN, "val_dice": 1, "best": false, '
        b'"seconds": 1, "seconds_left": 0}'
    )
    said.write_bytes(said.read_bytes() + b"\n\r\n" + line + b"\n")
    last = events_of(said.parent)[-1]
    assert isinstance(last, EpochEnded)
    assert math.isnan(last.train_loss)
    assert not caplog.records


def test_a_run_with_damaged_events_goes_on_to_its_own_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / EVENTS_FILE).write_bytes(b'{"event": "Nonsense"}\n{"event": "Not')
    assert main([str(tmp_path)]) == 1
    assert "Traceback" not in capsys.readouterr().err
    assert [type(event) for event in events_of(tmp_path)] == [Failed], "it has no recipe, and says so"


def test_the_log_is_utf8_whatever_the_system_writes(tmp_path: Path) -> None:
    program = (
        "import logging, pathlib, sys\n"
        "from training.__main__ import log_to_file\n"
        "log_to_file(pathlib.Path(sys.argv[1]))\n"
        "logging.getLogger('training').info('%s', 'M\\u00fcller \\u80ba \\udcff')\n"
    )
    plain = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-P", "-c", program, str(tmp_path / "log.txt")]
    subprocess.run(command, env=plain, check=True, timeout=60)
    assert r"Müller 肺 \udcff" in (tmp_path / "log.txt").read_text(encoding="utf-8")


@pytest.mark.skipif(not OPEN_FILES.is_dir(), reason="only Linux lists what a process holds")
def test_a_run_goes_on_where_nobody_replaces_an_open_or_mapped_file(make_run: MakeRun) -> None:
    run_dir = make_run(n_epochs=2, steps_per_epoch=2, keep="last")  # each epoch replaces all files
    with refuse_held_files():
        for event in run(run_dir, time.monotonic()):
            append_event(run_dir, event)
            if isinstance(event, EpochEnded):
                (run_dir / PAUSE_FILE).touch()
        assert isinstance(events_of(run_dir)[-1], Paused)
        assert main([str(run_dir)]) == 0
    assert isinstance(events_of(run_dir)[-1], Finished)
    texts = [event.text for event in events_of(run_dir) if isinstance(event, Notice)]
    assert not [text for text in texts if text.startswith("training goes on, but")]
    assert not list(run_dir.glob("*check*")), "and what only an unfinished run needs is gone"
