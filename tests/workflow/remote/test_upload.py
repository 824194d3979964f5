"""A run that is sent to a server over a link that breaks, before and after the server got the bytes."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from remote_phantoms import DeskLink

from napari_medseg.inference.remote.messages import LinkLost
from napari_medseg.workflow.remote import link as link_module
from napari_medseg.workflow.remote.run_files import RunFiles
from napari_medseg.workflow.remote.upload import Upload
from napari_medseg.workflow.serving.job_calls import Send
from napari_medseg.workflow.serving.job_files import name_user_folder
from napari_medseg.workflow.serving.jobs import JobDesk

JOB = "0" * 32


def make_run() -> RunFiles:
    run = RunFiles("train")
    for number in range(3):
        run.add_bytes(f"images/{number}.tif", bytes([number]) * (9 * number))  # the first is empty
    return run


def send_all(upload: Upload) -> None:
    def again(action: Callable[[], object]) -> object:
        for _ in range(3):
            try:
                return action()
            except LinkLost:
                pass
        raise AssertionError("it is lost for good")

    while not again(upload.is_complete):
        again(upload.send_part)


def get_content(tmp_path: Path) -> dict[str, bytes]:
    folder = tmp_path / "server" / name_user_folder("vera") / "content"
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("harm", ["the answer is lost", "the call is lost", "a part of it is gone"])
def test_a_link_that_breaks_amid_the_upload_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, desk: JobDesk, harm: str
) -> None:
    monkeypatch.setattr(link_module, "MAX_CHUNK_BYTES", 4)
    run, link = make_run(), DeskLink(desk)
    original, n_sent = link.call, 0

    def call(message: bytes, payload: bytes = b"") -> tuple[bytes, bytes]:
        nonlocal n_sent
        n_sent += b'"send"' in message
        if b'"send"' in message and n_sent % 2:
            if harm != "the call is lost":
                original(message, payload)
            for part in (tmp_path / "server").rglob("*.part") if harm == "a part of it is gone" else ():
                part.write_bytes(part.read_bytes()[:-1])
            raise LinkLost("the cable is out")
        return original(message, payload)

    link.call = call
    send_all(Upload(link, JOB, run))
    assert get_content(tmp_path) == {hashlib.sha256(data).hexdigest(): data for data in run.contents.values()}
    assert any(isinstance(one, Send) for one in link.calls)


def test_a_file_that_vanishes_amid_the_upload_is_sent_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, desk: JobDesk
) -> None:
    monkeypatch.setattr(link_module, "MAX_CHUNK_BYTES", 4)
    image, run = tmp_path / "a.tif", RunFiles("train", (tmp_path,))
    image.write_bytes(b"0123456789")
    run.add_file("images/a.tif", image)
    upload = Upload(DeskLink(desk), JOB, run)
    assert not upload.is_complete()
    upload.send_part()
    image.unlink()
    with pytest.raises(FileNotFoundError, match=r"a\.tif"):
        upload.send_part()
    image.write_bytes(b"0123456789")
    send_all(upload)
    assert get_content(tmp_path) == {hashlib.sha256(b"0123456789").hexdigest(): b"0123456789"}
