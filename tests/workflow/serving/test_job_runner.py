"""What a server makes of the jobs on its disk: damage to one is nothing to the others."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from napari_medseg.workflow.run_control import start_detached
from napari_medseg.workflow.serving.job_files import JobRecord, UserFiles
from napari_medseg.workflow.serving.job_runner import JobRunner
from training.recipe import Recipe, write_recipe
from training.run_folder import hold_trainer_lock

DEVICES = ("cuda:0", "cuda:1")


@pytest.fixture
def files(tmp_path: Path) -> UserFiles:
    """Of one user."""
    return UserFiles(tmp_path / "jobs" / "vera", 10**9)


@pytest.fixture
def runner(files: UserFiles, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobRunner]:
    """It takes its turns when a test says so."""
    monkeypatch.setattr("napari_medseg.workflow.serving.job_runner.TURN_S", 60.0)
    runner = JobRunner(files.folder.parent, DEVICES, 10**9, 10**6)
    yield runner
    runner.close()


def write_job(files: UserFiles, job: str, state: str) -> JobRecord:
    now = time.time()
    record = JobRecord(purpose="train", files=(), state=state, made_at=now, followed_at=now, queued_at=now)
    files.write(job, record)
    files.get_work_folder(job).mkdir()
    return record


def test_a_job_that_cannot_be_read_stops_no_other(files: UserFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    for job in ("a", "b", "c"):
        write_job(files, job, "waiting")
    damaged = files.folder / "jobs" / "a" / "job.json"
    damaged.write_text(damaged.read_text().replace("{", '{"of_a_newer_version": 1, ', 1))
    monkeypatch.setattr("napari_medseg.workflow.serving.job_runner.TURN_S", 60.0)
    runner = JobRunner(files.folder.parent, DEVICES, 10**9, 10**6)
    assert sorted(runner.find_place(("vera", job))[0] for job in ("b", "c")) == [1, 2]
    runner.close()
    assert damaged.is_file(), "it is kept for the newer version"


def test_a_job_that_is_damaged_while_it_runs_frees_its_lane(files: UserFiles, runner: JobRunner) -> None:
    for job in ("a", "b"):
        runner.enqueue(("vera", job), write_job(files, job, "running"))
        assert runner._choose_next("train") is not None
    (files.folder / "jobs" / "a" / "job.json").write_text("{")
    runner._tidied_at = time.monotonic()
    runner._take_turn()
    assert not runner._running.keys() & {("vera", "a")}
    assert files.read("b") is not None
    assert files.read("b").state != "running", "it was looked after, too"


def test_a_run_that_survived_the_server_keeps_its_device(files: UserFiles, runner: JobRunner) -> None:
    write_job(files, "a", "running")
    work = files.get_work_folder("a")
    write_recipe(Recipe(run={"base": "b", "name": "lungs", "device": "cuda:0"}), work / "recipe.json")
    with hold_trainer_lock(work):
        runner._find_jobs()
        runner.enqueue(("vera", "b"), write_job(files, "b", "waiting"))
        chosen = runner._choose_next("train")
    assert chosen is not None
    assert chosen.device == "cuda:1"


def test_a_run_that_is_discarded_while_it_starts_does_not_train(
    files: UserFiles, runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner.enqueue(("vera", "a"), write_job(files, "a", "waiting"))
    write_recipe(Recipe(run={"base": "b", "name": "lungs"}), files.get_work_folder("a") / "recipe.json")
    started = []

    def start(work: Path) -> subprocess.Popen[bytes]:
        runner.end(("vera", "a"))
        files.remove("a")
        started.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"]))
        return started[0]

    monkeypatch.setattr("napari_medseg.workflow.serving.job_runner.start_training", start)
    runner._tidied_at = time.monotonic()
    runner._take_turn()
    assert started[0].poll() is not None
    assert not runner._processes
    assert files.list_jobs() == []


def test_a_run_of_an_earlier_server_has_ended_before_its_files_are_removed(files: UserFiles, runner: JobRunner) -> None:
    write_job(files, "a", "running")
    work = files.get_work_folder("a")
    process = start_detached([sys.executable, "-c", "import time; time.sleep(30)"], work)
    runner.end(("vera", "a"))
    assert not psutil.pid_exists(process.pid), "not even as one that is about to end"
