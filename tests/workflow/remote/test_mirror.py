"""A run that trains on a server looks here as if it trained here, whatever breaks on the way."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from remote_phantoms import (
    WEIGHTS,
    DeskLink,
    MirrorThread,
    events_of,
    find_work,
    remote_run,
    train_epochs,
    wait_for,
)
from workflow_phantoms import write_version

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.records import Run, RunState
from napari_medseg.core.snapshot import SNAPSHOT_FILE, read_snapshot
from napari_medseg.inference.remote.messages import RemoteRefused
from napari_medseg.workflow import run_control
from napari_medseg.workflow.remote.mirror import RunMirror
from napari_medseg.workflow.remote.process import end_on_signals
from napari_medseg.workflow.remote.remote_run import read_remote, send_to_server
from napari_medseg.workflow.remote.run_files import collect_training
from napari_medseg.workflow.serving.job_calls import Control, Discard, Fetch, Offer, Send, encode
from napari_medseg.workflow.serving.job_files import name_user_folder
from napari_medseg.workflow.serving.jobs import JobDesk
from napari_medseg.workflow.workspace import Workspace
from training.recipe import read_recipe, update_recipe, write_recipe
from training.run_folder import (
    CANCEL_FILE,
    CHECKPOINT_FILE,
    EXIT_PAUSED,
    PAUSE_FILE,
    RECIPE_FILE,
    EpochEnded,
    Failed,
    Finished,
    Notice,
    Paused,
    Started,
    append_event,
)


def test_a_run_survives_a_cut_link_and_a_new_server(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_medseg.workflow.serving.job_runner.start_training", train_epochs)
    folder = remote_run(ws, monkeypatch)
    first = JobDesk(tmp_path / "server")
    link = DeskLink(first)
    mirror = MirrorThread(folder, link)

    def epochs() -> list[EpochEnded]:
        return [event for event in events_of(folder) if isinstance(event, EpochEnded)]

    wait_for(epochs, 30, lambda: events_of(folder))
    link.is_cut = True
    wait_for(lambda: any("cannot be reached" in getattr(event, "text", "") for event in events_of(folder)), 5)
    first.close()
    n_before = len(epochs())
    link.desk = JobDesk(tmp_path / "server")
    link.is_cut = False
    wait_for(lambda: len(epochs()) > n_before + 5, 30, lambda: events_of(folder))
    (folder / CANCEL_FILE).touch()
    wait_for(lambda: mirror.exit_code is not None, 30, lambda: events_of(folder))
    link.desk.close()
    numbers = [event.epoch for event in epochs()]
    assert numbers == list(range(1, len(numbers) + 1)), "no epoch is missing, and none came twice"
    assert isinstance(events_of(folder)[-1], Finished)


def test_a_mirror_goes_on_where_an_earlier_one_was_killed(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, desk: JobDesk
) -> None:
    monkeypatch.setattr("napari_medseg.workflow.serving.job_runner.start_training", train_epochs)
    folder, link = remote_run(ws, monkeypatch), DeskLink(desk)
    killed = MirrorThread(folder, link)

    def epochs() -> list[EpochEnded]:
        return [event for event in events_of(folder) if isinstance(event, EpochEnded)]

    wait_for(lambda: len(epochs()) > 3, 30)
    killed.mirror._take_event = None  # it ends with a fault at its next answer
    wait_for(lambda: not killed.is_alive(), 10)
    (folder / "events.jsonl").open("ab").write(b'{"event": "EpochEnded", "epo')  # a line that was not complete
    mirror = MirrorThread(folder, link)
    n_before = len(epochs())
    wait_for(lambda: len(epochs()) > n_before + 3, 30)
    (folder / CANCEL_FILE).touch()
    wait_for(lambda: mirror.exit_code is not None, 30)
    numbers = [event.epoch for event in epochs()]
    assert numbers == list(range(1, len(numbers) + 1)), "no epoch is missing, and none came twice"
    assert sum(isinstance(event, Started) for event in events_of(folder)) == 1
    logged = [line for line in (folder / "log.txt").read_text().splitlines() if line.startswith("epoch")]
    assert logged == [f"epoch {number}" for number in range(1, len(logged) + 1)]
    assert mirror.exit_code == 0
    assert not find_work(tmp_path / "server", folder).exists(), "a job is deleted after it was fetched"


def test_what_is_sent_names_no_one_and_no_folder_of_this_computer(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = remote_run(ws, monkeypatch)
    run = collect_training(folder)
    assert run.left_out == 0
    names = [file.name for file in run.files]
    assert all(name.isascii() and ".." not in name for name in names)
    for content in run.contents.values():
        data = content if isinstance(content, bytes) else content.read_bytes()
        for secret in (str(tmp_path), 'patient 0"', "slice 0"):
            assert secret.encode() not in data
    assert len([name for name in names if name.startswith("labels/")]) >= 3


def lay_out_ended_job(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, desk: JobDesk
) -> tuple[Path, Path, DeskLink]:
    """A run whose training at the server has ended; the process did nothing but what this function writes."""
    folder, link = remote_run(ws, monkeypatch), DeskLink(desk)
    monkeypatch.setattr("napari_medseg.workflow.serving.job_runner.start_training", _train_at_once)
    return folder, find_work(tmp_path / "server", folder), link


def _train_at_once(work: Path) -> subprocess.Popen[bytes]:
    write_version(work, version=2, weights=WEIGHTS, parent="lungs-unet@1")
    append_event(work, Started(2, 0, 1, 0, "cpu", 600.0, 1.0))
    append_event(work, Finished(1, 0.9, False, 3.0))
    return subprocess.Popen([sys.executable, "-c", "pass"])


def test_results_come_before_the_event_that_the_run_has_finished(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, desk: JobDesk
) -> None:
    folder, _, link = lay_out_ended_job(ws, tmp_path, monkeypatch, desk)
    assert RunMirror(folder, read_remote(folder).job, link).run() == 0
    events = events_of(folder)
    assert isinstance(events[-1], Finished)
    assert abs(next(event.time for event in events if isinstance(event, Started)) - 1.0) < 1.0
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert any(isinstance(event, Notice) and "sending" in event.text for event in events)


@pytest.mark.parametrize(("changed", "message"), [("model.safetensors", "another hash"), ("card.json", "another hash")])
def test_a_result_with_another_hash_is_refused_and_nothing_of_it_is_used(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, desk: JobDesk, changed: str, message: str
) -> None:
    folder, _, link = lay_out_ended_job(ws, tmp_path, monkeypatch, desk)
    link.change = lambda call, data: (
        data[:-1] + bytes([data[-1] ^ 1]) if isinstance(call, Fetch) and call.name == changed else data
    )
    with pytest.raises(MedSegError, match=message):
        RunMirror(folder, read_remote(folder).job, link).run()
    assert not (folder / "model.safetensors").exists()
    assert not (folder / "card.json").exists()
    assert not any(isinstance(event, Finished) for event in events_of(folder))


def test_no_page_of_a_server_is_taken_and_no_report_that_would_do_more_than_show(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, desk: JobDesk
) -> None:
    folder, work, link = lay_out_ended_job(ws, tmp_path, monkeypatch, desk)

    def train(at: Path) -> subprocess.Popen[bytes]:
        (at / "report.html").write_text("<script>alert(1)</script>")
        (at / "report.json").write_text('{"model": "<script>"}')
        return _train_at_once(at)

    monkeypatch.setattr("napari_medseg.workflow.serving.job_runner.start_training", train)
    with pytest.raises(MedSegError, match=r"report\.json is not the content of a report"):
        RunMirror(folder, read_remote(folder).job, link).run()
    assert not (folder / "model.safetensors").exists(), "nothing of it is used"
    (work / "report.json").unlink()
    assert RunMirror(folder, read_remote(folder).job, link).run() == 0
    assert not (folder / "report.html").exists()


def test_a_finished_run_whose_model_is_gone_has_failed_and_can_be_trained_again(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, desk: JobDesk
) -> None:
    folder, work, link = lay_out_ended_job(ws, tmp_path, monkeypatch, desk)

    def train(at: Path) -> subprocess.Popen[bytes]:
        process = _train_at_once(at)
        for name in ("card.json", "model.safetensors"):
            (at / name).unlink()
        return process

    monkeypatch.setattr("napari_medseg.workflow.serving.job_runner.start_training", train)
    assert RunMirror(folder, read_remote(folder).job, link).run() == 1
    last = events_of(folder)[-1]
    assert isinstance(last, Failed)
    assert "no model of the finished run" in last.message
    assert not work.exists()


def test_weights_that_are_no_safetensors_are_refused(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, desk: JobDesk
) -> None:
    folder, _, link = lay_out_ended_job(ws, tmp_path, monkeypatch, desk)
    monkeypatch.setitem(globals(), "WEIGHTS", b"\x80\x04pickle")
    with pytest.raises(MedSegError, match="no safetensors"):
        RunMirror(folder, read_remote(folder).job, link).run()
    assert not (folder / "model.safetensors").exists()


def test_an_image_that_was_damaged_on_its_way_is_refused_and_is_not_sent_twice(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, desk: JobDesk
) -> None:
    folder, _, link = lay_out_ended_job(ws, tmp_path, monkeypatch, desk)
    original = link.call
    damaged = []

    def call(message: bytes, payload: bytes = b"") -> tuple[bytes, bytes]:
        if payload and not damaged:
            damaged.append(payload)
            payload = bytes([payload[0] ^ 1]) + payload[1:]
        return original(message, payload)

    link.call = call
    with pytest.raises(MedSegError, match="damaged on its way"):
        RunMirror(folder, read_remote(folder).job, link).run()
    assert RunMirror(folder, read_remote(folder).job, link).run() == 0
    sent = [(one.sha256, one.offset) for one in link.calls if isinstance(one, Send)]
    assert len(sent) == len(set(sent)) + 1, "only the damaged file is sent again"


def test_a_second_run_sends_only_what_the_server_lacks(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, desk: JobDesk
) -> None:
    folder, _, link = lay_out_ended_job(ws, tmp_path, monkeypatch, desk)
    assert RunMirror(folder, read_remote(folder).job, link).run() == 0
    n_first = sum(isinstance(call, Send) for call in link.calls)
    link.calls.clear()
    (folder / "events.jsonl").unlink()
    send_to_server(folder, "ws://127.0.0.1:1", tmp_path)
    assert RunMirror(folder, read_remote(folder).job, link).run() == 0
    assert n_first > 5
    assert sum(isinstance(call, Send) for call in link.calls) == 0


def _name_by_link(images: Path, target: Path) -> str:
    (images / "a.tif").symlink_to(target)
    return "../../images/a.tif"


@pytest.mark.parametrize("way", ["the database", "a link to the database", "the token"])
def test_a_run_folder_from_elsewhere_sends_neither_the_identities_nor_the_token(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    folder = remote_run(ws, monkeypatch, n_cases=1)
    token = ws.registry.user_dir / "server.json"
    token.write_text("{}")
    named = {"the database": "../../project.sqlite", "the token": str(token)}.get(way)
    named = named or _name_by_link(ws.project.folder / "images", ws.project.folder / "project.sqlite")
    assert (folder / named).is_file()
    snapshot = read_snapshot(folder / SNAPSHOT_FILE)
    items = (snapshot.items[0].model_copy(update={"labels": named}), *snapshot.items[1:])
    (folder / SNAPSHOT_FILE).write_text(snapshot.model_copy(update={"items": items}).model_dump_json())
    with pytest.raises(MedSegError, match=r"not sent to the server\. Links out of the project"):
        collect_training(folder)


def test_no_link_in_a_version_is_followed(ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = remote_run(ws, monkeypatch, n_cases=1)
    version = ws.registry.user_dir / "linked" / "1"
    write_version(version, version=1, weights=WEIGHTS)
    (version / "model.safetensors").unlink()
    (version / "model.safetensors").symlink_to(ws.project.folder / "project.sqlite")
    recipe = read_recipe(folder / RECIPE_FILE)
    write_recipe(update_recipe(recipe, {"run": {"base": str(version)}}), folder / RECIPE_FILE)
    with pytest.raises(MedSegError, match="not sent to the server"):
        collect_training(folder)


@pytest.mark.parametrize("way", ["an absolute path", "a path upwards", "a link in the project"])
def test_a_run_folder_from_elsewhere_sends_no_file_of_this_computer(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, desk: JobDesk, way: str
) -> None:
    folder, _, link = lay_out_ended_job(ws, tmp_path, monkeypatch, desk)
    secret = tmp_path / "secret.txt"
    secret.write_text("the key of somebody")
    named = {"an absolute path": str(secret), "a path upwards": "../../../secret.txt"}.get(way, "../../images/a.tif")
    if way == "a link in the project":
        (ws.project.folder / "images" / "a.tif").symlink_to(secret)
    snapshot = read_snapshot(folder / SNAPSHOT_FILE)
    items = (snapshot.items[0].model_copy(update={"labels": named}), *snapshot.items[1:])
    (folder / SNAPSHOT_FILE).write_text(snapshot.model_copy(update={"items": items}).model_dump_json())
    with pytest.raises(MedSegError, match="neither in the project nor one of your models"):
        RunMirror(folder, read_remote(folder).job, link).run()
    assert not any(isinstance(call, Offer | Send) for call in link.calls)


@pytest.mark.parametrize("named", ["base", "compare_with"])
def test_only_models_of_this_person_are_sent(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    folder = remote_run(ws, monkeypatch, n_cases=1)
    write_version(tmp_path / "elsewhere" / "1", version=1, weights=WEIGHTS)
    recipe = read_recipe(folder / RECIPE_FILE)
    write_recipe(update_recipe(recipe, {"run": {named: str(tmp_path / "elsewhere" / "1")}}), folder / RECIPE_FILE)
    with pytest.raises(MedSegError, match="neither in the project nor one of your models"):
        collect_training(folder)


def test_a_run_that_waits_says_its_place_and_can_be_cancelled_or_paused(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, desk: JobDesk
) -> None:
    folder, _, link = lay_out_ended_job(ws, tmp_path, monkeypatch, desk)
    desk._runner._choose_next = lambda purpose: None  # the processor is taken
    mirror = MirrorThread(folder, link)
    wait_for(lambda: any("place 1" in getattr(event, "text", "") for event in events_of(folder)), 5)
    (folder / PAUSE_FILE).touch()
    wait_for(lambda: mirror.exit_code is not None, 2)
    assert mirror.exit_code == EXIT_PAUSED
    assert isinstance(events_of(folder)[-1], Paused)
    (folder / PAUSE_FILE).unlink()
    mirror = MirrorThread(folder, link)
    wait_for(lambda: sum("place 1" in getattr(event, "text", "") for event in events_of(folder)) > 1, 5)
    (folder / CANCEL_FILE).touch()
    wait_for(lambda: mirror.exit_code is not None, 2)
    assert isinstance(events_of(folder)[-1], Failed)
    assert "cancelled" in events_of(folder)[-1].message


def test_a_cancelled_run_that_waits_to_go_on_keeps_its_turn_for_its_best_version(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, desk: JobDesk
) -> None:
    folder, work, link = lay_out_ended_job(ws, tmp_path, monkeypatch, desk)
    choose, desk._runner._choose_next = desk._runner._choose_next, lambda purpose: None  # the processor is taken
    mirror = MirrorThread(folder, link)
    wait_for(lambda: any("place 1" in getattr(event, "text", "") for event in events_of(folder)), 20)
    (work / CHECKPOINT_FILE).touch()  # it was paused earlier
    (folder / CANCEL_FILE).touch()
    wait_for((work / CANCEL_FILE).exists, 20)
    desk._runner._choose_next = choose
    wait_for(lambda: mirror.exit_code is not None, 20)
    assert isinstance(events_of(folder)[-1], Finished)


def test_cancel_reaches_the_server_within_half_a_second(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, desk: JobDesk
) -> None:
    folder, work, link = lay_out_ended_job(ws, tmp_path, monkeypatch, desk)
    monkeypatch.setattr(
        "napari_medseg.workflow.serving.job_runner.start_training",
        lambda work: subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"]),
    )
    mirror = MirrorThread(folder, link)
    key = (name_user_folder("vera"), read_remote(folder).job)
    wait_for(lambda: key in desk._runner._processes, 5)
    (folder / CANCEL_FILE).touch()
    began = time.monotonic()
    wait_for((work / CANCEL_FILE).exists, 2)
    assert time.monotonic() - began < 0.5
    desk._runner._processes[key].kill()
    wait_for(lambda: mirror.exit_code is not None, 5)
    assert isinstance(events_of(folder)[-1], Failed)


def test_the_end_of_this_computer_does_not_pause_the_run_at_the_server(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, desk: JobDesk
) -> None:
    folder, work, link = lay_out_ended_job(ws, tmp_path, monkeypatch, desk)
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"])
    monkeypatch.setattr("napari_medseg.workflow.serving.job_runner.start_training", lambda work: process)
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)]
    ending = end_on_signals()
    try:
        mirror = MirrorThread(folder, link, ending)
        job = (name_user_folder("vera"), read_remote(folder).job)
        wait_for(lambda: job in desk._runner._processes, 5)
        os.kill(os.getpid(), signal.SIGTERM)
        wait_for(lambda: mirror.exit_code is not None, 2)
    finally:
        for number, handler in zip((signal.SIGTERM, signal.SIGUSR1), before, strict=True):
            signal.signal(number, handler)
    assert mirror.exit_code == EXIT_PAUSED
    assert isinstance(events_of(folder)[-1], Paused), "it can be resumed"
    assert not (work / PAUSE_FILE).exists()
    assert not any(isinstance(call, Control) for call in link.calls)
    process.kill()


def test_a_card_of_another_version_or_task_is_refused(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, desk: JobDesk
) -> None:
    folder, _, link = lay_out_ended_job(ws, tmp_path, monkeypatch, desk)

    def train(work: Path) -> subprocess.Popen[bytes]:
        process = _train_at_once(work)
        write_version(work, version=7, weights=WEIGHTS)
        return process

    monkeypatch.setattr("napari_medseg.workflow.serving.job_runner.start_training", train)
    with pytest.raises(MedSegError, match="not asked for"):
        RunMirror(folder, read_remote(folder).job, link).run()
    assert not (folder / "card.json").exists()


def test_a_refusal_does_not_end_a_run_that_the_server_has_begun(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, desk: JobDesk
) -> None:
    folder, _, link = lay_out_ended_job(ws, tmp_path, monkeypatch, desk)
    monkeypatch.setattr("napari_medseg.workflow.remote.mirror.REFUSED_RETRY_S", 0.1)
    original, n_refused = link.call, 0

    def call(message: bytes, payload: bytes = b"") -> tuple[bytes, bytes]:
        nonlocal n_refused
        if b'"fetch"' in message and n_refused < 3:
            n_refused += 1
            raise RemoteRefused("the certificate has expired")
        return original(message, payload)

    link.call = call
    assert RunMirror(folder, read_remote(folder).job, link).run() == 0
    assert isinstance(events_of(folder)[-1], Finished)
    assert sum("certificate has expired" in getattr(event, "text", "") for event in events_of(folder)) == 1


def test_a_refusal_before_the_run_was_sent_ends_it_and_it_can_be_resumed(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, desk: JobDesk
) -> None:
    folder, _, link = lay_out_ended_job(ws, tmp_path, monkeypatch, desk)

    def refuse(message: bytes, payload: bytes = b"") -> tuple[bytes, bytes]:
        raise RemoteRefused("the token is not accepted")

    link.call = refuse
    with pytest.raises(RemoteRefused, match="token"):
        RunMirror(folder, read_remote(folder).job, link).run()
    append_event(folder, Failed("the token is not accepted"))  # as the process does
    (run,) = ws.project.read_records(Run)
    ws.project.set_run_state(run, RunState.FAILED)
    assert run_control.can_resume(ws, run)
    (folder / CANCEL_FILE).touch()
    assert not run_control.can_resume(ws, run)


def test_a_job_that_the_server_lost_ends_the_run(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, desk: JobDesk
) -> None:
    monkeypatch.setattr("napari_medseg.workflow.serving.job_runner.start_training", train_epochs)
    folder, link = remote_run(ws, monkeypatch), DeskLink(desk)
    mirror = MirrorThread(folder, link)
    wait_for(lambda: any(isinstance(event, EpochEnded) for event in events_of(folder)), 30)
    DeskLink(desk).call(encode(Discard(job=read_remote(folder).job)))
    wait_for(lambda: mirror.exit_code is not None, 10)
    assert isinstance(events_of(folder)[-1], Failed)
