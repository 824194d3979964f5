"""What a server keeps of jobs: within a quota, by content, and nothing that leads out of the folder of a job."""

import hashlib
import time
from pathlib import Path

import pytest

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.snapshot import Role, Snapshot, SnapshotItem, write_snapshot
from napari_medseg.workflow.serving.job_calls import JobFile, Offer, encode
from napari_medseg.workflow.serving.job_files import JobRecord, UserFiles, refuse_foreign_files, refuse_foreign_paths
from napari_medseg.workflow.serving.job_queue import QueuedJob, estimate_wait_s, order_fairly
from napari_medseg.workflow.serving.jobs import JobDesk
from training.adapt.request import AdaptRequest, write_request


def file_of(content: bytes, name: str = "images/a.tif") -> JobFile:
    return JobFile(name=name, size=len(content), sha256=hashlib.sha256(content).hexdigest())


def test_a_file_is_taken_part_by_part_and_only_with_its_hash(tmp_path: Path) -> None:
    files = UserFiles(tmp_path, 10**6)
    good, wrong = file_of(b"pixels"), file_of(b"others")
    assert files.find_missing([good]) == {good.sha256: 0}
    files.receive(good, 0, b"pix")
    assert files.find_missing([good]) == {good.sha256: 3}, "it goes on where the link broke"
    files.receive(good, 0, b"pix")
    files.receive(good, 0, b"pi")
    assert files.find_missing([good]) == {good.sha256: 3}, "what is sent again is not written again"
    with pytest.raises(MedSegError, match="3 of 6 bytes"):
        files.receive(good, 4, b"ls")
    with pytest.raises(MedSegError, match="bytes on the server"):
        files.receive(good, 3, b"elsewhere")
    files.receive(good, 3, b"els")
    assert files.find_missing([good]) == {}
    with pytest.raises(MedSegError, match="damaged on its way"):
        files.receive(wrong, 0, b"OTHERS")
    assert files.find_missing([wrong]) == {wrong.sha256: 0}


def test_content_that_was_used_longest_ago_goes_first_and_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    import os

    files = UserFiles(tmp_path, 100)
    for number, content in enumerate((b"a" * 40, b"b" * 40)):
        files.receive(file_of(content), 0, content)
        os.utime(tmp_path / "content" / file_of(content).sha256, (number, number))
    files.make_room([file_of(b"c" * 40)])
    assert files.find_missing([file_of(b"a" * 40)])
    assert not files.find_missing([file_of(b"b" * 40)])
    with pytest.raises(MedSegError, match="GB on the server"):
        files.make_room([file_of(b"d" * 101)])


def keep(files: UserFiles, job: str, content: bytes, state: str) -> JobFile:
    """Send a file for a job that is in a state."""
    file = file_of(content)
    files.write(job, JobRecord(purpose="train", files=(file,), state=state, made_at=time.time(), followed_at=0.0))
    files.receive(file, 0, content)
    if state != "receiving":
        target = files.get_work_folder(job) / file.name
        target.parent.mkdir(parents=True)
        files._place(tmp := files.folder / "content" / file.sha256, target)
        assert tmp.stat().st_nlink == 2
    return file


def test_a_file_with_two_names_is_counted_once_and_its_second_name_frees_nothing(tmp_path: Path) -> None:
    files = UserFiles(tmp_path, 5000)
    used = keep(files, "a", b"a" * 2000, "ended")
    files.make_room([file_of(b"b" * 2000)])
    with pytest.raises(MedSegError, match="GB on the server"):
        files.make_room([file_of(b"c" * 4000)])
    assert not files.find_missing([used]), "to delete it would not have made room"


def test_what_arrives_for_one_run_is_not_deleted_for_another(tmp_path: Path) -> None:
    files = UserFiles(tmp_path, 5000)
    whole = keep(files, "a", b"a" * 2000, "receiving")
    begun = file_of(b"b" * 1000)
    files.write("b", JobRecord(purpose="train", files=(begun,), made_at=time.time(), followed_at=0.0))
    files.receive(begun, 0, b"b" * 500)
    with pytest.raises(MedSegError, match="GB on the server"):
        files.make_room([file_of(b"c" * 4000)])
    assert files.find_missing([whole, begun]) == {begun.sha256: 500}


@pytest.mark.parametrize(
    "name", ["model.pkl", "checkpoint.safetensors", "run.py", "images/a.py", "events.jsonl", "versions/base/weights.pt"]
)
def test_a_file_that_no_run_reads_is_not_taken(name: str) -> None:
    with pytest.raises(MedSegError, match="does not read"):
        refuse_foreign_files("train", [file_of(b"", name)])


@pytest.mark.parametrize(
    "name", ["../a.json", "/etc/a.json", "images/../../a.tif", "images/.hidden.tif", "a\\b.json", ""]
)
def test_a_name_that_leads_elsewhere_is_no_call(tmp_path: Path, name: str) -> None:
    desk = JobDesk(tmp_path)
    call = encode(Offer(job="0" * 32, purpose="train", files=())).replace(
        b'"files":[]', f'"files":[{{"name":"{name}","size":1,"sha256":"{"0" * 64}"}}]'.encode()
    )
    with pytest.raises(MedSegError, match="does not understand"):
        desk.handle("vera", call)
    desk.close()


@pytest.mark.parametrize("path", ["/etc/passwd", "../../other/images/a.tif", "images/../../../a.tif"])
def test_a_path_that_leads_out_of_the_folder_is_not_read(tmp_path: Path, path: str) -> None:
    work = tmp_path / "work"
    work.mkdir()
    request = AdaptRequest(parent="lungs-unet@1", parent_sha256="", base="versions/base", corrections=())
    item = SnapshotItem(name="a", image="images/a.tif", labels="labels/a.tif", group="g", role=Role.TRAIN)
    write_request(request, work)
    write_snapshot(Snapshot(task="lungs", items=(item,)), work / "snapshot.json")
    refuse_foreign_paths(work, "adapt")
    write_snapshot(Snapshot(task="lungs", items=(item.model_copy(update={"image": path}),)), work / "snapshot.json")
    with pytest.raises(MedSegError, match="outside its folder"):
        refuse_foreign_paths(work, "adapt")
    write_snapshot(Snapshot(task="lungs", items=(item,)), work / "snapshot.json")
    write_request(request.model_copy(update={"base": path}), work)
    with pytest.raises(MedSegError, match="outside its folder"):
        refuse_foreign_paths(work, "adapt")


def test_one_user_does_not_see_the_jobs_of_another(tmp_path: Path) -> None:
    desk = JobDesk(tmp_path)
    desk.handle("vera", encode(Offer(job="0" * 32, purpose="train", files=())))
    answer, _ = desk.handle("paul", b'{"kind":"follow","job":"' + b"0" * 32 + b'"}')
    assert b'"unknown"' in answer
    desk.close()


def queued(user: str, at: float, budget_s: float | None = 90.0) -> QueuedJob:
    return QueuedJob(user, f"{user}{at}", "train", at, budget_s)


def test_users_come_in_turn_whoever_asked_more_often() -> None:
    waiting = [queued("vera", 1), queued("vera", 2), queued("vera", 3), queued("paul", 4), queued("ute", 5)]
    order = [one.user for one in order_fairly(waiting, {"vera": 100.0})]
    assert order == ["paul", "ute", "vera", "vera", "vera"]
    assert [one.user for one in order_fairly(waiting, {})][:3] == ["vera", "paul", "ute"]


def test_the_wait_is_what_those_before_may_take() -> None:
    running = queued("vera", 1)
    running.began_at = 1000.0
    assert estimate_wait_s([], [running], 1, 1030.0) == 60.0
    assert estimate_wait_s([queued("paul", 2)], [running], 1, 1030.0) == 150.0
    assert estimate_wait_s([], [running], 2, 1030.0) == 0.0, "another device is free"
    assert estimate_wait_s([queued("paul", 2, None)], [running], 1, 1030.0) is None
