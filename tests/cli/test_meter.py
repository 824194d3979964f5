"""`medseg meter`: the same figures as the page in the window."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

from workflow_phantoms import phantom, phantom_labels, predicted

from napari_medseg.workflow.cases import get_case_row
from napari_medseg.workflow.review import accept, open_review
from napari_medseg.workflow.workspace import Workspace

Call = Callable[..., tuple[int, str, str]]


def test_work_readers_and_what_is_left_are_told(medseg: Call, ws: Workspace, tmp_path: Path) -> None:
    ws.reader.set_name("Dr. Anna Ä")
    for number in range(9):
        image = phantom(number)
        case, prediction = predicted(ws, image)
        draft = open_review(ws, case, prediction)
        draft.record([number], 0, 1)
        draft.add_seconds(60.0)
        accept(ws, draft, draft.labels, image)
    predicted(ws, phantom(20))
    ws.second_readings.choose(case, is_chosen=True)
    ws.reader.set_name("Ben")
    accept(ws, open_review(ws, case, get_case_row(ws, case).prediction), phantom_labels(), image)
    folder = ws.project.folder
    ws.close()

    code, out, _ = medseg("meter", folder, "--registry", tmp_path / "registry", "--csv", tmp_path / "m.csv")
    assert code == 0
    assert "lungs-unet@1, 10 cases, 1:00 min each (1:00 min to 1:00 min), edited 0.1 %, Dice of the drafts 1.000" in out
    assert "1 case left: about 1 min of work (1 min to 1 min)" in out
    assert "two retrains are needed" in out
    assert "right lung: Dice 0.999" in out
    assert "reader 1 and reader 2; the first reading counts" in out
    assert "Anna" not in out
    with (tmp_path / "m.csv").open(encoding="utf-8", newline="") as file:
        assert [row["reader"] for row in csv.DictReader(file)] == ["reader 1"] * 9 + ["reader 2"]

    place = (folder, "--registry", tmp_path / "registry", "--json")
    content = json.loads(medseg("meter", *place)[1])
    assert (content["versions"][0]["seconds"]["value"], len(content["corrections"])) == (60.0, 10)
    assert content["readers"]["cases"][0]["scores"][1] == {"label": 2, "dice": 1.0, "hd95": 0.0}
    clear = json.loads(medseg("meter", *place, "--readers", "--clear-names")[1])
    assert clear["names"] == {"reader 1": "Dr. Anna Ä", "reader 2": "Ben"}
    assert "corrections" not in clear


def test_a_project_without_corrections_has_no_figures(medseg: Call, ws: Workspace, tmp_path: Path) -> None:
    folder = ws.project.folder
    ws.close()
    code, out, _ = medseg("meter", folder, "--registry", tmp_path / "registry")
    assert code == 0
    assert "0 corrections" in out
    assert "Nothing is left" in out
    assert "No case has a second reading" in out
