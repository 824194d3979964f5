"""What a person decides while the link is lost reaches the server when the link is back."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cable import Cable
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
from test_remote_training import running_server

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.records import Run, RunState
from napari_medseg.inference.remote.messages import LinkLost
from napari_medseg.workflow import run_control
from napari_medseg.workflow.remote import process
from napari_medseg.workflow.remote.engine_choice import choose_engine
from napari_medseg.workflow.remote.remote_run import AT_SERVER, read_remote, send_to_server
from napari_medseg.workflow.remote.server_settings import ServerSettings, write_server
from napari_medseg.workflow.remote.untold import forget_untold, note_untold, tell_in_background, tell_untold
from napari_medseg.workflow.serving.jobs import JobDesk
from napari_medseg.workflow.workspace import Workspace
from training.run_folder import (
    CANCEL_FILE,
    EXIT_PAUSED,
    PAUSE_FILE,
    EpochEnded,
    Failed,
    Finished,
    Paused,
    append_event,
    has_trainer,
)

ADDRESS = "ws://127.0.0.1:1"


def has_trained(folder: Path) -> bool:
    return any(isinstance(event, EpochEnded) for event in events_of(folder))


@pytest.fixture
def lost(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, desk: JobDesk
) -> Iterator[tuple[Path, DeskLink, MirrorThread]]:
    """A run that trains at the server, whose link has just broken."""
    monkeypatch.setattr("napari_medseg.workflow.serving.job_runner.start_training", train_epochs)
    folder, link = remote_run(ws, monkeypatch), DeskLink(desk)
    mirror = MirrorThread(folder, link)
    wait_for(lambda: has_trained(folder), 30, lambda: events_of(folder))
    link.is_cut = True
    yield folder, link, mirror
    if (work := find_work(tmp_path / "server", folder)).exists():
        (work / CANCEL_FILE).touch()


def test_a_cancel_ends_the_run_there_and_its_best_version_is_kept_until_it_is_fetched(
    ws: Workspace, tmp_path: Path, lost: tuple[Path, DeskLink, MirrorThread]
) -> None:
    folder, link, mirror = lost
    work, settings_folder = find_work(tmp_path / "server", folder), ws.registry.user_dir
    (folder / CANCEL_FILE).touch()
    wait_for(lambda: mirror.exit_code is not None, 20)
    (run,) = ws.project.read_records(Run)
    (failed,) = [event for event in run_control.poll_run(ws, run)[0] if isinstance(event, Failed)]
    assert "Its best version is kept there" in failed.message
    with pytest.raises(LinkLost):
        tell_untold(settings_folder, ADDRESS, link)
    assert has_trainer(work), "it goes on, because nobody can tell it"
    link.is_cut = False
    assert tell_untold(settings_folder, "ws://127.0.0.1:2", link) == 0, "another server knows nothing of it"
    assert tell_untold(settings_folder, ADDRESS, link) == 1
    assert tell_untold(settings_folder, ADDRESS, link) == 0, "it is told once"
    wait_for(lambda: not has_trainer(work), 20, lambda: events_of(work))
    assert run_control.can_resume(ws, run)
    again = MirrorThread(folder, link)
    wait_for(lambda: again.exit_code is not None, 20, lambda: events_of(folder))
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert isinstance(events_of(folder)[-1], Finished)
    assert not work.exists()


def test_a_pause_reaches_the_server_and_the_run_can_be_resumed(
    ws: Workspace, tmp_path: Path, lost: tuple[Path, DeskLink, MirrorThread]
) -> None:
    folder, link, mirror = lost
    (folder / PAUSE_FILE).touch()
    wait_for(lambda: mirror.exit_code is not None, 20)
    assert mirror.exit_code == EXIT_PAUSED
    link.is_cut = False
    assert tell_untold(ws.registry.user_dir, ADDRESS, link) == 1
    assert (find_work(tmp_path / "server", folder) / PAUSE_FILE).exists()
    (folder / PAUSE_FILE).unlink()
    again = MirrorThread(folder, link)
    (folder / CANCEL_FILE).touch()
    wait_for(lambda: again.exit_code is not None, 20, lambda: events_of(folder))
    assert isinstance(events_of(folder)[-1], Finished)


def test_a_resumed_run_withdraws_a_pause_that_the_server_has_heard(
    ws: Workspace, tmp_path: Path, lost: tuple[Path, DeskLink, MirrorThread]
) -> None:
    folder, link, mirror = lost
    work = find_work(tmp_path / "server", folder)
    (folder / PAUSE_FILE).touch()
    wait_for(lambda: mirror.exit_code is not None, 20)
    (folder / PAUSE_FILE).unlink()
    link.is_cut = False
    tell_untold(ws.registry.user_dir, ADDRESS, link)
    assert (work / PAUSE_FILE).exists(), "the trainer is amid a comparison and has not seen it"
    again = MirrorThread(folder, link)
    wait_for(lambda: not (work / PAUSE_FILE).exists(), 20)
    (folder / CANCEL_FILE).touch()
    wait_for(lambda: again.exit_code is not None, 20, lambda: events_of(folder))
    assert isinstance(events_of(folder)[-1], Finished)


@pytest.fixture
def ending(ws: Workspace, monkeypatch: pytest.MonkeyPatch, desk: JobDesk) -> tuple[Path, MirrorThread]:
    """A cancelled run, begun at a server that is lost, whose mirror is ended in the same moment."""
    folder, link, ended = remote_run(ws, monkeypatch, n_cases=1), DeskLink(desk), threading.Event()
    append_event(folder, AT_SERVER)
    (folder / CANCEL_FILE).touch()
    link.is_cut = True
    ended.set()
    return folder, MirrorThread(folder, link, ended)


def test_a_cancel_is_noted_although_the_computer_is_shut_down(ws: Workspace, ending: tuple[Path, MirrorThread]) -> None:
    folder, mirror = ending
    wait_for(lambda: mirror.exit_code is not None, 20)
    (noted,) = ws.registry.user_dir.glob("untold/*.json")
    assert '"cancel"' in noted.read_text()
    assert isinstance(events_of(folder)[-1], Paused)


def test_a_run_is_paused_although_its_decision_cannot_be_kept(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    ws.registry.user_dir.mkdir(parents=True, exist_ok=True)
    (ws.registry.user_dir / "untold").write_text("no folder")
    folder, mirror = request.getfixturevalue("ending")
    wait_for(lambda: mirror.exit_code is not None, 20)
    assert mirror.exit_code == EXIT_PAUSED
    assert isinstance(events_of(folder)[-1], Paused)


def test_a_decision_that_cannot_be_read_now_is_kept_and_a_damaged_one_is_dropped(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch, desk: JobDesk
) -> None:
    folder = remote_run(ws, monkeypatch, n_cases=1)
    note_untold(read_remote(folder), "cancel")
    (noted,) = ws.registry.user_dir.glob("untold/*.json")
    (noted.parent / "0.json").write_text("{")
    (noted.parent / "1.json").mkdir()  # it exists, and no program reads it
    tell_untold(ws.registry.user_dir, "ws://127.0.0.1:2", DeskLink(desk))
    assert [path.name for path in sorted(noted.parent.iterdir())] == ["1.json", noted.name]


def test_a_server_that_does_not_answer_holds_no_process_and_is_told_once(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    note_untold(read_remote(remote_run(ws, monkeypatch, n_cases=1)), "cancel")
    answers, asked = threading.Event(), []

    def call(link: object, call: bytes, payload: bytes = b"") -> tuple[bytes, bytes]:
        asked.append(call)
        answers.wait(20)
        return b'{"kind": "done"}', b""

    monkeypatch.setattr("napari_medseg.workflow.remote.server_link.ServerLink.call", call)
    for _ in range(2):
        tell_in_background(ws.registry.user_dir, ServerSettings(address=ADDRESS))
    tellers = [thread for thread in threading.enumerate() if thread.name == "untold decisions"]
    assert [thread.daemon for thread in tellers] == [True, True]
    wait_for(lambda: asked, 20)
    answers.set()
    for thread in tellers:
        thread.join(20)
    assert len(asked) == 1


def test_a_run_whose_discard_fails_here_is_kept_at_the_server(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    remote_run(ws, monkeypatch, n_cases=1)
    (run,) = ws.project.read_records(Run)
    ws.child_processes.clear()
    ws.project.set_run_state(run, RunState.PAUSED)

    def fail(*_: object) -> None:
        raise MedSegError("the database is locked")

    monkeypatch.setattr(ws.project, "set_run_state", fail)
    with pytest.raises(MedSegError, match="locked"):
        run_control.discard(ws, run)
    assert not list(ws.registry.user_dir.glob("untold/*"))


def test_a_mirror_that_goes_on_forgets_an_earlier_pause(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process.RunMirror, "run", lambda mirror: 0)
    folder = remote_run(ws, monkeypatch, n_cases=1)
    write_server(ws.registry.user_dir, ServerSettings(address=ADDRESS))
    note_untold(read_remote(folder), "pause")
    assert process.main([str(folder)]) == 0
    assert not list(ws.registry.user_dir.glob("untold/*"))


def test_a_run_that_goes_on_is_not_paused_later(ws: Workspace, monkeypatch: pytest.MonkeyPatch, desk: JobDesk) -> None:
    folder = remote_run(ws, monkeypatch, n_cases=1)
    note_untold(read_remote(folder), "pause")
    forget_untold(read_remote(folder))
    assert tell_untold(ws.registry.user_dir, ADDRESS, DeskLink(desk)) == 0


@pytest.mark.parametrize(("way", "said"), [("discard", b'"discard"'), ("cancel", b'"file":"cancel"')])
def test_an_end_without_a_mirror_is_noted(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch, way: str, said: bytes
) -> None:
    folder = remote_run(ws, monkeypatch, n_cases=1)
    (run,) = ws.project.read_records(Run)
    ws.child_processes.clear()
    if way == "discard":
        ws.project.set_run_state(run, RunState.PAUSED)
        run_control.discard(ws, run)
    else:  # its mirror died before it saw the cancel
        run_control.cancel(ws, run)
        run_control.poll_run(ws, run)
    told: list[bytes] = []

    class Link:
        def call(self, call: bytes, payload: bytes = b"") -> tuple[bytes, bytes]:
            told.append(call)
            return b'{"kind": "done"}', b""

    assert tell_untold(ws.registry.user_dir, ADDRESS, Link()) == 1
    assert said in told[0]
    assert read_remote(folder).job.encode() in told[0]


def test_a_window_that_was_opened_again_tells_a_real_server(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_medseg.inference.engine.client.Engine.start", lambda self: None)
    monkeypatch.setattr("napari_medseg.workflow.serving.job_runner.start_training", train_epochs)
    folder = remote_run(ws, monkeypatch)
    with running_server(tmp_path / "serving") as direct:
        cable = Cable(int(direct.address.rpartition(":")[2]))
        settings = direct.model_copy(update={"address": f"ws://127.0.0.1:{cable.port}"})
        write_server(ws.registry.user_dir, settings)
        send_to_server(folder, settings.address, ws.registry.user_dir)
        mirror = threading.Thread(target=process.main, args=([str(folder)],), daemon=True)
        mirror.start()
        wait_for(lambda: has_trained(folder), 30, lambda: events_of(folder))
        work = find_work(tmp_path / "serving" / "server" / "jobs", folder)
        cable.cut()
        (folder / CANCEL_FILE).touch()
        wait_for(lambda: not mirror.is_alive(), 20)
        assert isinstance(events_of(folder)[-1], Failed)
        assert has_trainer(work)
        cable.mend()
        engine = choose_engine(ws.registry)
        engine.start()
        wait_for((work / CANCEL_FILE).exists, 20)
        wait_for(lambda: not list(ws.registry.user_dir.glob("untold/*")), 20)
        engine.close()
        cable.close()
