"""A mask of another person beside the accepted labels of a case; and images and masks in archives."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from workflow_phantoms import phantom, phantom_labels

from napari_medseg.core import formats
from napari_medseg.core.project.case_files import read_case_labels
from napari_medseg.core.readings.records import SECOND
from napari_medseg.core.records import Review
from napari_medseg.core.tasks.bundled_tasks import TASKS
from napari_medseg.workflow.cases import get_case_row, list_cases, list_current_corrections, load_image
from napari_medseg.workflow.masks.import_masks import ImportOutcome, import_pairs
from napari_medseg.workflow.masks.pairs import find_pairs
from napari_medseg.workflow.masks.read_pair import MaskSettings
from napari_medseg.workflow.second_reader.readings import compute_missing_agreements, list_read_twice, use_reading
from napari_medseg.workflow.workspace import Workspace

ANNA, BEN = "Dr. Anna Ä", "Ben"


def other_labels() -> np.ndarray:
    labels = phantom_labels()
    labels[:, :12] = 0
    return labels


def write(folder: Path, labels: np.ndarray, numbers: tuple[int, ...] = (1, 2)) -> tuple[Path, Path]:
    for number in numbers:
        formats.write_image(folder / "images" / f"p{number}.tif", phantom(number))
        formats.write_labels(folder / "masks" / f"p{number}.png", labels, phantom(number))
    return folder / "images", folder / "masks"


def run(ws: Workspace, folders: tuple[Path, Path], reader: str = "", *, accepts: bool = False) -> list[ImportOutcome]:
    pairs, _ = find_pairs(*folders)
    return list(import_pairs(ws, pairs, MaskSettings(TASKS["lungs"], second_reader=reader), accepts=accepts))


@pytest.fixture
def ws_of_anna(ws: Workspace, tmp_path: Path) -> Workspace:
    """A project in which Anna accepted two cases."""
    ws.reader.set_name(ANNA)
    run(ws, write(tmp_path / "first", phantom_labels()), accepts=True)
    return ws


def test_second_readings_stand_beside_the_ground_truth(ws_of_anna: Workspace, tmp_path: Path) -> None:
    ws, folders = ws_of_anna, write(tmp_path / "second", other_labels())
    assert [one.state for one in run(ws, folders, BEN)] == ["second reading"] * 2
    task = TASKS["lungs"]
    read = list_read_twice(ws, task.name)
    assert [(one.first.who, one.second_who, one.uses_second) for one in read] == [("reader 1", "reader 2", False)] * 2
    for case, correction in list_current_corrections(ws, task.name):
        assert np.array_equal(read_case_labels(ws.project.folder, case, correction), phantom_labels())
    agreements = list(compute_missing_agreements(ws.project.folder, task, read))
    assert len(agreements) == 2
    assert 0 < min(dice or 0 for _, dice, _ in agreements[0].scores) < 1
    chosen = use_reading(ws, read[0].case, SECOND)
    assert np.array_equal(read_case_labels(ws.project.folder, read[0].case, chosen), other_labels())
    assert (chosen.who, chosen.reading, chosen.model) == ("reader 2", SECOND, "")
    assert ws.reader.name == ANNA, "who works now is another question"
    assert [one.state for one in run(ws, folders, BEN)] == ["already there"] * 2
    assert BEN not in (ws.project.folder / "journal").as_posix()


def test_what_is_no_second_reading_is_refused_and_leaves_nothing(ws_of_anna: Workspace, tmp_path: Path) -> None:
    ws = ws_of_anna
    folders = write(tmp_path / "second", other_labels(), (1, 2, 3))
    by_anna = run(ws, folders, ANNA)
    assert "Anna" in by_anna[0].text
    assert "no first reading" in by_anna[2].text
    assert {one.state for one in by_anna} == {"refused"}
    assert not ws.project.read_records(Review, "reading", SECOND)
    assert len(list_cases(ws, "lungs")) == 2, "a third image was not added"
    run(ws, folders, BEN)
    later = run(ws, folders, "Carla")
    assert "second person" in later[0].text
    assert len(ws.project.read_records(Review, "reading", SECOND)) == 2


def test_a_mask_with_swapped_sides_is_no_reading(ws_of_anna: Workspace, tmp_path: Path) -> None:
    outcomes = run(ws_of_anna, write(tmp_path / "s", np.where(phantom_labels() > 0, 3 - phantom_labels(), 0)), BEN)
    assert {one.state for one in outcomes} == {"refused"}
    assert not ws_of_anna.project.read_records(Review, "reading", SECOND)


def test_a_reading_by_the_person_who_works_now_is_seen_by_that_person(ws_of_anna: Workspace, tmp_path: Path) -> None:
    ws = ws_of_anna
    run(ws, write(tmp_path / "second", other_labels()), BEN)
    ws.reader.set_name(BEN)
    case = list_cases(ws, "lungs")[0].case
    row = get_case_row(ws, case)
    assert (row.reading, row.state) == (SECOND, "accepted")
    assert row.correction is not None
    assert np.array_equal(read_case_labels(ws.project.folder, case, row.correction), other_labels())


def pack(folder: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.write(file, f"download/{file.relative_to(folder).as_posix()}")
    return target


@pytest.mark.parametrize("how", ["both", "masks"])
def test_masks_and_images_in_archives(open_workspace: Callable[[], Workspace], tmp_path: Path, how: str) -> None:
    images, masks = write(tmp_path / "a", phantom_labels())
    packed = pack(masks, tmp_path / "masks.zip")
    packed_images = pack(images, tmp_path / "images.zip") if how == "both" else images
    ws = open_workspace()
    assert [one.state for one in run(ws, (packed_images, packed))] == ["draft", "draft"]
    ws = open_workspace()
    for row in list_cases(ws, "lungs"):
        assert load_image(ws, row.case).content_hash == row.case.content_hash, "found again in the archive"
    assert [one.state for one in run(ws, (packed_images, packed))] == ["already there"] * 2


def test_images_and_masks_of_one_archive(open_workspace: Callable[[], Workspace], tmp_path: Path) -> None:
    images, masks = write(tmp_path / "a", phantom_labels())
    for path in (*images.iterdir(), *masks.iterdir()):
        (tmp_path / "flat").mkdir(exist_ok=True)
        ending = "_mask.png" if path.parent == masks else ".tif"
        (tmp_path / "flat" / f"{path.stem}{ending}").write_bytes(path.read_bytes())
    packed = pack(tmp_path / "flat", tmp_path / "all.zip")
    ws = open_workspace()
    assert [one.state for one in run(ws, (packed, packed))] == ["draft", "draft"]
