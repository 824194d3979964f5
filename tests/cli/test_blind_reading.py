"""No command shows a second reader the first reading of a case that this person has yet to read."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from workflow_phantoms import accepted, phantom, predicted

from napari_medseg.workflow.case_notes import notes
from napari_medseg.workflow.review import accept, open_review
from napari_medseg.workflow.workspace import Workspace

Call = Callable[..., tuple[int, str, str]]
SECRET = "the vessel beside the heart"


def test_no_command_shows_it(medseg: Call, ws: Workspace, tmp_path: Path) -> None:
    ws.reader.set_name("Anna")
    case, prediction = predicted(ws, phantom(0))
    draft = open_review(ws, case, prediction)
    draft.record(np.array([1500]), 0, 2)  # a speck, which is a finding
    accept(ws, draft, draft.labels, phantom(0))
    notes.set_note(ws, case, SECRET)
    other = accepted(ws, 1)
    ws.second_readings.choose(case, is_chosen=True)
    ws.reader.set_name("Ben")
    ws.close()
    place = ("--project", ws.project.folder, "--registry", tmp_path / "registry")
    registry = ("--registry", tmp_path / "registry")

    told = medseg("check", *place)[1] + medseg("check", "--json", *place)[1]
    told += medseg("meter", ws.project.folder, *registry, "--json")[1]
    told += medseg("meter", ws.project.folder, *registry, "--csv", tmp_path / "m.csv")[1]
    told += medseg("report", ws.project.folder, *registry, "-o", tmp_path / "page")[1]
    told += (tmp_path / "page" / "report.html").read_text(encoding="utf-8")
    assert (case.name in told, other.name in told, SECRET in told) == (False, True, False)
    assert "1 case is left out: you are to read it blind" in told
    with (tmp_path / "m.csv").open(encoding="utf-8", newline="") as file:
        assert [row["name"] for row in csv.DictReader(file)] == [other.name]
    (queued,) = json.loads(medseg("queue", "--json", *place)[1])
    assert (queued["name"], queued["state"]) == (case.name, "predicted")

    code, _, said = medseg("export", "-o", tmp_path / "out", "--with-notes", *place)
    assert (code, "1 case is left out" in said) == (0, True)
    assert sorted(path.name for path in (tmp_path / "out").glob("*.tif")) == ["patient-2_case-2_labels.tif"]
    assert SECRET not in (tmp_path / "out" / "provenance.json").read_text(encoding="utf-8")
    assert medseg("export", "-o", tmp_path / "out", "--with-blind", *place)[0] == 0
    assert len(list((tmp_path / "out").glob("*.tif"))) == 2
    for with_blind, n_cases in (((), 1), (("--with-blind",), 2)):
        code, _, said = medseg("dataset", "-o", tmp_path / "set", "--format", "folders", *with_blind, *place)
        assert (code, "1 case is left out" in said) == (0, n_cases == 1)
        assert len(list((tmp_path / "set" / "masks").iterdir())) == n_cases
    assert "1 case is left out" in medseg("share", "-o", tmp_path / "shared", *place)[2]
