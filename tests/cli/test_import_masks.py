"""`medseg import`: a folder of images and one of masks become cases with labels."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from workflow_phantoms import phantom, phantom_labels

from napari_medseg.core import formats
from napari_medseg.workflow.cases import list_cases
from napari_medseg.workflow.workspace import Workspace

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def arguments(open_workspace: Callable[[], Workspace], tmp_path: Path) -> list[object]:
    """Options that name the folders and the project; the values of the masks are 10 and 20."""
    open_workspace().close()
    for number in (1, 2):
        formats.write_image(tmp_path / "images" / f"p{number}_0000.tif", phantom(number))
        formats.write_labels(tmp_path / "masks" / f"p{number}.png", phantom_labels() * 10, phantom(number))
    places = {"images": "images", "masks": "masks", "project": "project", "registry": "registry"}
    return ["import", *(part for name, place in places.items() for part in (f"--{name}", tmp_path / place))]


def test_values_are_said_once_and_remembered(
    medseg: Run, arguments: list[object], open_workspace: Callable[[], Workspace]
) -> None:
    code, out, err = medseg(*arguments)
    assert (code, out.splitlines()[-1]) == (1, "2 pairs: 2 refused")
    assert "the values 10, 20 are unknown" in err
    code, out, _ = medseg(*arguments, "--values", "1,2")
    assert (code, out.splitlines()[-1]) == (1, "2 pairs: 2 refused")
    _, _, err = medseg(*arguments)
    assert "Values of the masks" not in err, "values that fit no mask are not remembered"
    code, out, err = medseg(*arguments, "--values", "10,20")
    assert (code, out) == (0, "2 pairs: 2 imported as drafts\n")
    assert "Values of the masks: 10 right lung, 20 left lung" in err
    code, out, _ = medseg(*arguments, "--accept")
    assert (code, out) == (0, "2 pairs: 2 accepted as corrections\n")
    assert [row.state for row in list_cases(open_workspace(), "lungs")] == ["accepted", "accepted"]


def test_names_of_a_dataset_json_are_used(medseg: Run, arguments: list[object], tmp_path: Path) -> None:
    names = {"labels": {"background": 0, "lung_right": 10, "lung_left": 20, "heart": 30}}
    (tmp_path / "dataset.json").write_text(json.dumps(names), encoding="utf-8")
    code, out, _ = medseg(*arguments, "--json")
    assert code == 0
    assert [pair["state"] for pair in json.loads(out)["pairs"]] == ["draft", "draft"]


def test_what_has_no_partner_is_listed_and_wrong_options_are_refused(
    medseg: Run, arguments: list[object], tmp_path: Path
) -> None:
    formats.write_labels(tmp_path / "masks" / "q.png", np.zeros((48, 64), np.uint8), phantom(1))
    code, out, _ = medseg(*arguments, "--values", "10,20", "--accept")
    assert code == 0
    assert "missing image: 1\n  q.png has no image\n2 pairs: 2 accepted as corrections" in out
    code, _, err = medseg(*arguments, "--values", "10")
    assert (code, "--values names 1 values for 2 labels" in err) == (1, True)


def test_a_second_reading_and_an_archive_with_nnunet_folders(
    medseg: Run, arguments: list[object], open_workspace: Callable[[], Workspace], tmp_path: Path
) -> None:
    ws = open_workspace()
    ws.reader.set_name("Anna")
    ws.close()
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for kind, folder in (("images", "imagesTr"), ("masks", "labelsTr")):
            for file in (tmp_path / kind).iterdir():
                archive.write(file, f"Dataset001/{folder}/{file.name}")
    at = arguments[-4:]
    code, out, err = medseg("import", tmp_path / "set.zip", *at, "--values", "10,20", "--task", "lungs", "--accept")
    assert (code, out) == (0, "2 pairs: 2 accepted as corrections\n"), err
    code, out, _ = medseg(*arguments, "--values", "10,20", "--second-reading", "Ben")
    assert (code, out) == (0, "2 pairs: 2 imported as second readings\n")
    code, _, err = medseg(*arguments, "--values", "10,20", "--second-reading", "Anna")
    assert code == 1
    assert "read this case first" in err
