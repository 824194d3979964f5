"""Records of cases: what a second start may trust, and what is left of killed workers."""

from pathlib import Path

from napari_medseg.workflow.cluster.case_records import CaseRecord, CaseRecords, make_case_key, make_fingerprint


def test_files_without_a_record_are_removed_and_others_are_kept(tmp_path: Path) -> None:
    records = CaseRecords(tmp_path)
    done, lost = make_case_key("a"), make_case_key("b")
    staged = [records.get_staged_file(key, "f", "-labels.tif") for key in (done, lost)]
    late = records.get_staged_file(done, "of another version", "-labels.tif")
    with records.hold():
        records.write(CaseRecord(key=done, fingerprint="f", path="a", state="done"))
        for file in (*staged, late):
            file.write_bytes(b"labels")
        records.begin(done, "token", "worker")
        records.begin(lost, "token", "worker")
    with records.hold() as token:
        names = {path.name for path in records.folder.iterdir()}
        assert names == {"lock", token, f"{done}.json", f"{done}.starts", staged[0].name}
    assert records.read(lost) is None
    records.get_file(done, ".json").write_text("{torn")
    assert records.read(done) is None, "a damaged record is no record"


def test_starts_count_within_a_run_only(tmp_path: Path) -> None:
    records = CaseRecords(tmp_path)
    records.make_folder()
    assert records.begin("k", "one", "w1") == []
    assert records.begin("k", "one", "w2") == ["w1"]
    assert records.begin("k", "two", "w3") == []
    records.end("k")
    assert records.begin("k", "one", "w4") == []


def test_a_fingerprint_changes_with_files_and_options(tmp_path: Path) -> None:
    file = tmp_path / "a.tif"
    file.write_bytes(b"12")
    first = make_fingerprint([file], {"force": False})
    assert make_fingerprint([file], {"force": False}) == first
    assert make_fingerprint([file], {"force": True}) != first
    file.write_bytes(b"123")
    assert make_fingerprint([file], {"force": False}) != first
    assert make_fingerprint([file / "inner.tif"], {}) == make_fingerprint([file], {}), "a part is as its file"
