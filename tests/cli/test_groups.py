"""`medseg groups`: the patients of a project, listed, previewed and changed."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from workflow_phantoms import accepted, phantom

from napari_medseg.core.grouping.keyed_groups import get_group_noun
from napari_medseg.core.project.rows import RunItem
from napari_medseg.core.records import Correction, Run, RunState
from napari_medseg.core.snapshot import Role
from napari_medseg.workflow.cases import add_cases
from napari_medseg.workflow.hold_out.held_out_groups import set_held_out
from napari_medseg.workflow.workspace import Workspace

Call = Callable[..., tuple[int, str, str]]


def test_groups_are_previewed_changed_and_listed(medseg: Call, ws: Workspace, tmp_path: Path) -> None:
    names = [f"p{number // 3}_{number}" for number in range(9)]
    images = [
        replace(phantom(number, f"old {number}"), name=name, sources=(Path(f"/x/{name}.png"),))
        for number, name in enumerate(names)
    ]
    add_cases(ws, images, "lungs")
    where = ("--project", ws.project.folder, "--registry", tmp_path / "registry")
    ws.close()
    code, out, _ = medseg("groups", "change", "--pattern", "{patient}_*", "--dry-run", *where)
    assert (code, "3 patients: p0 (3), p1 (3), p2 (3); 1 held out; 9 of 9 cases change" in out) == (0, True)
    assert len(json.loads(medseg("groups", "list", "--json", *where)[1])["groups"]) == 9
    assert medseg("groups", "change", "--pattern", "{patient}_*", *where)[0] == 0
    assert medseg("groups", "change", "--cases", "p0_0,p1_3", "--to", "twin", *where)[0] == 0
    listed = json.loads(medseg("groups", "list", "--json", *where)[1])
    assert listed["pattern"] == "{patient}_*"
    assert listed["groups"][0]["cases"] == 3
    assert {get_group_noun(row["group"]) for row in listed["groups"]} == {"patient"}
    listed = json.loads(medseg("groups", "list", "--clear-names", "--json", *where)[1])["groups"]
    assert sorted((row["clear_name"], row["cases"]) for row in listed) == [("p0", 2), ("p1", 2), ("p2", 3), ("twin", 2)]
    plain, clear = (medseg("groups", "list", *more, *where)[1] for more in ((), ("--clear-names",)))
    assert ("twin" in plain, "twin" in clear) == (False, True)
    code, _, err = medseg("groups", "change", "--pattern", "(", *where)
    assert (code, "is not a pattern" in err) == (1, True)
    code, _, err = medseg("groups", "change", "--cases", "nobody", "--to", "x", *where)
    assert (code, "no case 'nobody'" in err) == (1, True)
    assert "such as 'patient 13 case 1', its number, or its file name" in err


def test_a_change_that_affects_the_used_hold_out_needs_a_yes(medseg: Call, ws: Workspace, tmp_path: Path) -> None:
    for number, held_out in ((0, True), (1, False)):
        set_held_out(ws, accepted(ws, number).group, held_out)
    ws.project.insert(Run("r1", "lungs", "lungs-unet@1", "runs/r1", RunState.FINISHED, 1, None, "2025"))
    evaluated, trained = ws.project.read_records(Correction)
    ws.project.add_run_items(
        [RunItem("r1", evaluated.id, "patient 0", Role.HOLD_OUT), RunItem("r1", trained.id, "patient 1", Role.TRAIN)]
    )
    where = ("--project", ws.project.folder, "--registry", tmp_path / "registry")
    ws.close()
    change = ("groups", "change", "--cases", "slice 0,slice 1", "--to", "one", *where)
    code, out, err = medseg(*change)
    assert code == 1
    assert "the hold-out was used before, and 1 of its cases leave it" in out
    assert "Add --yes" in err
    assert medseg(*change, "--yes")[0] == 0
    listed = json.loads(medseg("groups", "list", "--json", *where)[1])["groups"]
    assert [(get_group_noun(row["group"]), row["cases"], row["held_out"]) for row in listed] == [("patient", 2, False)]


def test_files_that_may_keep_old_names_are_named_and_fail_the_command(
    medseg: Call, ws: Workspace, tmp_path: Path
) -> None:
    where = ("--project", ws.project.folder, "--registry", tmp_path / "registry")
    backup, broken = ws.project.folder / "project.before-version-6.sqlite", ws.project.folder / "runs" / "r1"
    backup.write_bytes(b"")
    broken.mkdir(parents=True)
    (broken / "snapshot.json").write_text("{", encoding="utf-8")
    ws.project.insert(Run("r1", "lungs", "lungs-unet@1", "runs/r1", RunState.FINISHED, 1, None, "2025"))
    ws.close()
    code, out, err = medseg("groups", "remove-old-names", "--json", *where)
    assert (code, json.loads(out)) == (1, [str(backup)])
    assert str(broken) in err
