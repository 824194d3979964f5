"""The table of a run: it never ends the cases, and it has what earlier starts did."""

import csv
import logging
from pathlib import Path

import pytest
from pyarrow import parquet

from napari_medseg.core.errors import MedSegError
from napari_medseg.workflow.cluster import manifest as manifest_module
from napari_medseg.workflow.cluster.case_records import CaseRecord
from napari_medseg.workflow.cluster.case_request import CaseRequest
from napari_medseg.workflow.cluster.manifest import MANIFEST_CSV, Manifest, make_waiting_row


def make_request(number: int) -> CaseRequest:
    return CaseRequest(f"k{number}", "f", (f"im{number}.tif",), "out", "token", None)


def read_states(folder: Path) -> list[str]:
    with (folder / MANIFEST_CSV).open(newline="", encoding="utf-8") as file:
        return [row["state"] for row in csv.DictReader(file)]


def test_a_table_that_cannot_be_written_ends_nothing_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(manifest_module, "RETRY_AFTER_S", 0.0)
    (tmp_path / MANIFEST_CSV).mkdir()  # it cannot be replaced, like a table that is open in Excel
    manifest = Manifest(tmp_path, [make_request(0)], lambda record: {})
    with caplog.at_level(logging.WARNING):
        manifest.write_sometimes()
        manifest.write_sometimes()
    (told,) = caplog.messages
    assert MANIFEST_CSV in told
    assert "The cases go on" in told
    with pytest.raises(MedSegError, match=MANIFEST_CSV):
        manifest.write()  # the last time: the command says it
    (tmp_path / MANIFEST_CSV).rmdir()
    manifest.put(0, CaseRecord(key="k0", fingerprint="f", path="im0.tif", state="done"))
    manifest.write_sometimes()
    assert read_states(tmp_path) == ["done"]


def test_cases_of_earlier_starts_have_rows(tmp_path: Path) -> None:
    earlier = [make_waiting_row(make_request(0)) | {"state": "done", "chunk": 7}]
    Manifest(tmp_path, [make_request(1)], lambda record: {}, earlier).write()
    assert read_states(tmp_path) == ["done", "waiting"]
    assert parquet.read_table(tmp_path / "manifest.parquet").to_pydict()["chunk"] == [7, None]
