"""`medseg queue`: the undecided cases of a project."""

import json
from collections.abc import Callable
from pathlib import Path

from workflow_phantoms import accepted, phantom, phantom_labels, predicted

from napari_medseg.core import formats
from napari_medseg.inference.events import PredictionResult
from napari_medseg.workflow.cases import add_cases
from napari_medseg.workflow.review import record_prediction
from napari_medseg.workflow.workspace import Workspace

Call = Callable[..., tuple[int, str, str]]


def test_undecided_cases_are_listed_with_their_uncertainty(medseg: Call, ws: Workspace, tmp_path: Path) -> None:
    accepted(ws, 0)
    predicted(ws, phantom(1), 0.25)
    place = ("--project", ws.project.folder, "--registry", tmp_path / "registry")
    code, _, err = medseg("queue", *place)
    assert code == 1
    assert "open in another window" in err
    ws.close()
    entries = json.loads(medseg("queue", "--json", *place)[1])
    assert [(entry["name"], entry["state"], entry["uncertainty"]) for entry in entries] == [
        ("patient 2 case 2", "predicted", 0.25)
    ]
    (entry,) = json.loads(medseg("queue", "--clear-names", "--json", *place)[1])
    assert entry["file_name"] == "slice 1"
    plain, clear = (medseg("queue", *more, *place)[1] for more in ((), ("--clear-names",)))
    assert ("slice 1" in plain, "slice 1" in clear) == (False, True)


def test_the_queue_says_which_images_are_unlike_the_training_images(
    medseg: Call, ws: Workspace, tmp_path: Path
) -> None:
    predicted(ws, phantom(1), 0.25)
    foreign, _ = predicted(ws, phantom(2), 0.05)
    result = PredictionResult(phantom_labels(), 0.05, None, 1.0, "CPU", domain_distance=2.5)
    record_prediction(ws, foreign, result, "lungs-unet@1")
    place = ("--project", ws.project.folder, "--registry", tmp_path / "registry")
    ws.close()
    entries = json.loads(medseg("queue", "--json", *place)[1])
    assert [(entry["unlike"], entry["domain_distance"]) for entry in entries] == [(True, 2.5), (False, None)]
    first, second = medseg("queue", *place)[1].splitlines()
    assert "! unlike the images this model learnt from" in first
    assert "unlike" not in second


def test_cases_without_an_image_come_last_and_no_file_is_named_unasked(
    medseg: Call, ws: Workspace, tmp_path: Path
) -> None:
    for number in range(2):
        formats.write_image(tmp_path / f"Ute{number}.png", phantom(number))
    add_cases(ws, [formats.read(tmp_path / f"Ute{number}.png") for number in range(2)], "lungs")
    (tmp_path / "Ute0.png").unlink()
    ws.close()
    place = ("--project", ws.project.folder, "--registry", tmp_path / "registry")
    lines = medseg("queue", *place)[1].splitlines()
    assert [line.endswith("! image is missing") for line in lines] == [False, True]
    assert [entry["image"] for entry in json.loads(medseg("queue", "--json", *place)[1])] == ["", "missing"]
    code, out, _ = medseg("check", *place)
    assert code == 0
    assert out.count("image is missing") == 1
    assert "Ute" not in out
    assert "Ute0.png" in medseg("check", "--clear-names", *place)[1]
    code, out, _ = medseg("project", "check", ws.project.folder, "--registry", tmp_path / "registry")
    assert code == 1
    assert "its image is missing, and the project has no copy" in out
    assert "Ute" not in out
