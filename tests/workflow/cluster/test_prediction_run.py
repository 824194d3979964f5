"""Many images on two workers: whatever is killed, nothing is lost and nothing is done twice."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cluster_phantoms import CALM, KILLS, KILLS_ONCE, SLOW, TELLS, make_job, open_fake_cluster, run_job, write_images
from pyarrow import parquet

from napari_medseg.core.errors import MedSegError
from napari_medseg.workflow.cluster.case_records import CaseRecords
from napari_medseg.workflow.cluster.connection import Cluster, ClusterChoice
from napari_medseg.workflow.cluster.prediction_run import begin_predictions

TESTS = Path(__file__).resolve().parents[1]


def read_rows(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        return {Path(row["path"]).name: row for row in csv.DictReader(file)}


def stat_results(folder: Path) -> dict[str, int]:
    files = [*folder.glob("*_labels.tif"), *CaseRecords(folder).folder.glob("*.json")]
    return {path.name: path.stat().st_mtime_ns for path in files}


def test_a_case_outlives_its_worker_and_one_that_kills_three_fails_alone(cluster: Cluster, tmp_path: Path) -> None:
    images = write_images(tmp_path / "in", CALM, KILLS_ONCE, KILLS, TELLS, CALM)
    with begin_predictions(cluster, make_job(images, tmp_path / "out")) as run:
        (token,) = CaseRecords(tmp_path / "out").folder.glob("*.token")
        for worker in ("tcp://one", "tcp://two"):  # two that it killed already: each start of a worker takes seconds
            CaseRecords(tmp_path / "out").begin(run.requests[2].key, token.name, worker)
        list(run.run())
    rows = read_rows(tmp_path / "out")
    assert [row["state"] for row in rows.values()] == ["done", "done", "failed", "done", "done"]
    assert rows["im1.tif"]["starts"] == "2"
    assert rows["im2.tif"]["starts"] == "3"
    assert "3 workers ended while they worked on it (tcp://one, tcp://two, tcp://127" in rows["im2.tif"]["error"]
    assert "--memory" in run.errors[2]
    assert run.records_of[3].notes == ("the GPU failed",)
    names = [f"im{number}_labels.tif" for number in (0, 1, 3, 4)]
    assert sorted(path.name for path in (tmp_path / "out").glob("*_labels.tif")) == names
    table = parquet.read_table(tmp_path / "out" / "manifest.parquet").to_pydict()
    assert table["labels_file"] == ["im0_labels.tif", "im1_labels.tif", "", "im3_labels.tif", "im4_labels.tif"]
    assert table["uncertainty"] == [0.25, 0.25, None, 0.25, 0.25]

    before = stat_results(tmp_path / "out")
    again = run_job(cluster, make_job(images, tmp_path / "out"))
    assert (again.n_kept, again.n_repeated) == (4, 1)
    after = stat_results(tmp_path / "out")
    assert {name for name in before if before[name] != after[name]} == {f"{run.records_of[2].key}.json"}


def test_only_what_changed_is_done_again(cluster: Cluster, tmp_path: Path) -> None:
    images, out = write_images(tmp_path / "in", CALM, CALM, CALM), tmp_path / "out"
    run_job(cluster, make_job(images, out))
    write_images(images, CALM, CALM, SLOW, CALM)
    for name in ("im0.tif", "im1.tif"):  # as they were, by size and time
        os.utime(images / name, ns=(1, 1))
    run_job(cluster, make_job(images, out, overwrite=True))
    for name in ("im0.tif", "im1.tif"):
        assert read_rows(out)[name]["state"] == "done"
    (out / "im1_labels.tif").unlink()
    os.utime(images / "im3.tif", ns=(5, 5))
    run = run_job(cluster, make_job(images, out))
    assert run.n_kept == 2, "im0 and im2"
    assert (out / "im1_labels.tif").exists()
    assert "im3_labels.tif exists already" in run.errors[3]
    other_version = run_job(cluster, make_job(images, out, sha256="1" * 64))
    assert other_version.n_kept == 0
    assert sum("exists already" in error for error in other_version.errors) == 4
    assert run_job(cluster, make_job(images, out, sha256="1" * 64, overwrite=True)).errors == [""] * 4


def test_a_killed_client_repeats_nothing_that_was_done(cluster: Cluster, tmp_path: Path) -> None:
    images, out = write_images(tmp_path / "in", *[SLOW] * 8), tmp_path / "out"
    command = [sys.executable, str(TESTS / "cluster_phantoms.py"), str(images), str(out)]
    client = subprocess.Popen(command)
    wait_until(lambda: len(list(CaseRecords(out).folder.glob("*.json"))) >= 3)
    client.send_signal(signal.SIGKILL)
    client.wait()
    time.sleep(1.0)  # its workers follow it
    done = {path.stem: path.stat().st_mtime_ns for path in CaseRecords(out).folder.glob("*-labels.tif")}
    named = {path.name: path.stat().st_mtime_ns for path in out.glob("*_labels.tif")}
    n_done = len(list(CaseRecords(out).folder.glob("*.json")))
    assert 3 <= n_done < 8
    run = run_job(cluster, make_job(images, out))
    assert (run.n_kept, run.errors) == (n_done, [""] * 8)
    assert {path.name for path in out.glob("*_labels.tif")} == {f"im{number}_labels.tif" for number in range(8)}
    assert {name: (out / name).stat().st_mtime_ns for name in named} == named
    assert not list(CaseRecords(out).folder.glob("*-labels.tif")), done
    assert [row["state"] for row in read_rows(out).values()] == ["done"] * 8


def test_a_killed_scheduler_is_named_and_repeats_nothing(cluster: Cluster, tmp_path: Path) -> None:
    images, out = write_images(tmp_path / "in", *[SLOW] * 6), tmp_path / "out"
    address_file = tmp_path / "scheduler.json"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    dask = [sys.executable, "-m", "dask"]
    host = ["--host", "127.0.0.1", "--scheduler-file", str(address_file)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [TESTS, *filter(None, sys.path)]))}
    scheduler = subprocess.Popen([*dask, "scheduler", "--port", "0", "--no-dashboard", *host], env=environment, **quiet)
    worker = None
    try:
        wait_until(address_file.exists)
        options = ["--nthreads", "1", "--no-dashboard", "--no-nanny", *host]
        worker = subprocess.Popen([*dask, "worker", *options], env=environment, cwd=tmp_path, **quiet)
        with open_fake_cluster(ClusterChoice(scheduler=read_address(address_file))) as remote:
            wait_until(lambda: remote.count_threads() > 0)
            with begin_predictions(remote, make_job(images, out)) as run:
                progress = run.run()
                while next(progress).done < 2:
                    pass
                scheduler.send_signal(signal.SIGKILL)
                with pytest.raises(MedSegError, match=r"connection to the scheduler .* was lost.*it goes on"):
                    list(progress)
    finally:
        for process in filter(None, (scheduler, worker)):
            process.kill()
            process.wait()
    before = stat_results(out)
    assert sum(name.endswith(".tif") for name in before) >= 2
    run = run_job(cluster, make_job(images, out))
    assert run.n_kept >= 2
    assert run.errors == [""] * 6
    assert {name: after for name, after in stat_results(out).items() if name in before and name.endswith(".tif")} == {
        name: at for name, at in before.items() if name.endswith(".tif")
    }


def test_two_clients_do_not_share_a_folder(cluster: Cluster, tmp_path: Path) -> None:
    images = write_images(tmp_path / "in", CALM)
    with (
        CaseRecords(tmp_path / "out").hold(),
        pytest.raises(MedSegError, match="another command works in"),
        begin_predictions(cluster, make_job(images, tmp_path / "out")),
    ):
        pass


def read_address(file: Path) -> str:
    import json

    return str(json.loads(file.read_text(encoding="utf-8"))["address"])


def wait_until(holds, timeout_s: float = 90.0) -> None:  # noqa: ANN001
    until = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)
