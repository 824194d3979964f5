"""Snapshots: frozen, hashed, and never with one patient on both sides."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.snapshot import Role, Snapshot, SnapshotItem, make_paths_relative, read_snapshot, write_snapshot


def item(name: str, group: str, role: Role, sha256: str = "") -> SnapshotItem:
    return SnapshotItem(
        name=name, image=f"{name}.tif", labels=f"{name}_l.tif", group=group, role=role, labels_sha256=sha256
    )


SNAPSHOT = Snapshot(
    task="lungs",
    items=(
        item("a", "p1", Role.TRAIN),
        item("b", "p2", Role.VALIDATE),
        item("c", "p3", Role.HOLD_OUT),
        item("d", "p4", Role.REPLAY),
    ),
)


def test_a_snapshot_comes_back_from_its_file(tmp_path: Path) -> None:
    write_snapshot(SNAPSHOT, tmp_path / "snapshot.json")
    back = read_snapshot(tmp_path / "snapshot.json")
    assert back == SNAPSHOT
    assert back.sha256 == SNAPSHOT.sha256
    assert [each.name for each in back.filter_by_role(Role.TRAIN, Role.REPLAY)] == ["a", "d"]


@pytest.mark.parametrize("role", [Role.TRAIN, Role.VALIDATE, Role.REPLAY])
def test_a_group_on_both_sides_of_the_hold_out_is_refused(role: Role) -> None:
    SNAPSHOT.check_split()
    leaky = Snapshot(task="lungs", items=(*SNAPSHOT.items, item("e", "p3", role)))
    with pytest.raises(MedSegError, match=r"groups \['p3'\] are in the hold-out and in the training set"):
        leaky.check_split()


def test_the_hash_follows_labels_roles_and_groups_but_not_paths() -> None:
    moved = [each.model_copy(update={"image": f"/elsewhere/{each.image}"}) for each in SNAPSHOT.items]
    assert Snapshot(task="lungs", items=tuple(moved)).sha256 == SNAPSHOT.sha256
    first, *rest = SNAPSHOT.items
    changes = [{"labels_sha256": "1"}, {"role": Role.VALIDATE}, {"group": "p9"}, {"name": "z"}]
    hashes = {Snapshot(task="lungs", items=(first.model_copy(update=c), *rest)).sha256 for c in changes}
    assert len(hashes | {SNAPSHOT.sha256, Snapshot(task="covid", items=SNAPSHOT.items).sha256}) == 6


def test_a_snapshot_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        SNAPSHOT.items[0].group = "p9"  # type: ignore[misc]


@pytest.mark.parametrize("text", ["", "{}", '{"task": "lungs", "items": [], "extra": 1}', "no json"])
def test_what_is_no_snapshot_is_a_readable_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "snapshot.json").write_text(text)
    with pytest.raises(MedSegError, match="is not a snapshot"):
        read_snapshot(tmp_path / "snapshot.json")
    with pytest.raises(MedSegError, match="is not a snapshot"):
        read_snapshot(tmp_path / "gone.json")


def test_a_snapshot_of_windows_keeps_the_names_of_its_files_elsewhere(tmp_path: Path) -> None:
    paths = {"image": r"C:\p\images\1.tif", "labels": r"labels\1.tif", "reviewed_mask": r"C:\p\labels\1_r.tif"}
    items = [{"name": "a", "group": "p1", "role": "train", **paths}]
    (tmp_path / "snapshot.json").write_text(json.dumps({"task": "lungs", "items": items}), encoding="utf-8")
    there = read_snapshot(tmp_path / "snapshot.json").items[0]
    assert [Path(path).name for path in (there.image, there.labels, there.reviewed_mask)] == [
        "1.tif",
        "1.tif",
        "1_r.tif",
    ]
    assert tmp_path / there.labels == tmp_path / "labels" / "1.tif"


def test_paths_inside_the_project_lead_from_the_run_folder_after_a_move(tmp_path: Path) -> None:
    project, run_dir = tmp_path / "project", tmp_path / "project" / "runs" / "r1"
    for folder in (run_dir, project / "images", tmp_path / "elsewhere"):
        folder.mkdir(parents=True)
    inside, outside = project / "images" / "a b.tif", tmp_path / "elsewhere" / "c.tif"
    for path in (inside, outside):
        path.touch()
    items = (item("a", "p1", Role.TRAIN).model_copy(update={"image": str(inside), "labels": str(outside)}),)
    absolute = Snapshot(task="lungs", items=items)
    shorter = make_paths_relative(absolute, run_dir, project)
    (one,) = shorter.items
    assert (one.image, one.labels, one.reviewed_mask) == ("../../images/a b.tif", str(outside), "")
    assert shorter.sha256 == absolute.sha256
    moved = project.rename(tmp_path / "moved")
    assert (moved / "runs" / "r1" / one.image).is_file()


def test_paths_stay_absolute_where_the_run_folder_is_a_link(tmp_path: Path) -> None:
    project = tmp_path / "project"
    (tmp_path / "other disk" / "deep").mkdir(parents=True)
    project.mkdir()
    (project / "a.tif").touch()
    (project / "runs").symlink_to(tmp_path / "other disk" / "deep")
    absolute = Snapshot(
        task="lungs", items=(item("a", "p1", Role.TRAIN).model_copy(update={"image": str(project / "a.tif")}),)
    )
    assert make_paths_relative(absolute, project / "runs", project) == absolute
