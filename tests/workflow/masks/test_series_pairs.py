"""DICOM labels in a study: each belongs to the series that it refers to, in folders and archives."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dicom_files import AXIAL, noise, write_series
from workflow_phantoms import phantom_labels

from napari_medseg.core import formats
from napari_medseg.core.label_files.description import LabelDescription
from napari_medseg.core.label_files.registry import find_label_format
from napari_medseg.core.project.case_files import read_case_labels
from napari_medseg.core.tasks.bundled_tasks import TASKS
from napari_medseg.workflow.cases import list_current_corrections, load_image
from napari_medseg.workflow.masks.drops import split_drop
from napari_medseg.workflow.masks.import_masks import import_pairs
from napari_medseg.workflow.masks.pairs import find_pairs
from napari_medseg.workflow.masks.read_pair import MaskSettings
from napari_medseg.workflow.masks.series_pairs import holds_objects
from napari_medseg.workflow.workspace import Workspace

LUNGS = LabelDescription(TASKS["lungs"], "", "Anna", "2026-05-04T03:02:01+00:00", "")


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two patients; the first has a localizer, too, and a second structure set of its series."""
    for number in (1, 2):
        folder = tmp_path / "study" / f"P{number}"
        write_series(
            folder / "CT",
            noise((3, 48, 64), number),
            AXIAL,
            SeriesInstanceUID=f"1.2.5.{number}",
            FrameOfReferenceUID=f"1.2.9.{number}",
            PatientID=f"p{number}",
        )
        image = formats.read(folder / "CT")
        labels = np.stack([phantom_labels()] * 3)
        for kind, name in [("rtstruct", "RT/a.dcm")] + [("rtstruct", "RT/b.dcm")] * (number == 1):
            (folder / "RT").mkdir(exist_ok=True)
            find_label_format(kind).write(folder / name, labels, image, LUNGS)
    write_series(tmp_path / "study" / "P1" / "LOC", noise((1, 48, 64), 9), SeriesInstanceUID="1.2.6", PatientID="p1")
    return tmp_path / "study"


@pytest.mark.parametrize("packed", [False, True])
def test_a_study_is_imported_with_its_structure_sets(
    open_workspace: Callable[[], Workspace], study: Path, tmp_path: Path, packed: bool
) -> None:
    place = Path(shutil.make_archive(str(tmp_path / "all"), "zip", study)) if packed else study
    pairs, lacking = find_pairs(place, place)
    assert len(pairs) == 2
    assert [(one.kind, one.name) for one in lacking] == [("double", "b.dcm")]
    ws = open_workspace()
    outcomes = list(import_pairs(ws, pairs, MaskSettings(TASKS["lungs"]), accepts=True))
    assert [one.state for one in outcomes] == ["accepted", "accepted"], outcomes
    for case, correction in list_current_corrections(ws, "lungs"):
        np.testing.assert_array_equal(
            read_case_labels(ws.project.folder, case, correction), np.stack([phantom_labels()] * 3)
        )
        assert load_image(ws, case).content_hash == case.content_hash
        assert all(str(place) in source for source in case.sources)


@pytest.mark.parametrize("packed", [False, True])
def test_a_dropped_study_is_split_into_series_and_masks(study: Path, tmp_path: Path, packed: bool) -> None:
    place = Path(shutil.make_archive(str(tmp_path / "all"), "zip", study)) if packed else study
    found = split_drop([place])
    assert len(found.pairs) == 2
    assert [path.name for path in found.masks] == ["b.dcm"]
    assert (found.images, found.n_left_out) == ((), 1), "the localizer has no mask"
    assert found.pairs[0].read_image().spatial_shape == (3, 48, 64)
    apart = split_drop([study / "P1" / "CT", study / "P1" / "RT" / "a.dcm"])
    assert [pair.image.name for pair in apart.pairs] == ["CT"]
    assert not split_drop([study / "P1" / "CT"]).pairs


def test_slices_that_lie_in_the_folder_itself_are_one_series(study: Path) -> None:
    pairs, lacking = find_pairs(study / "P2" / "CT", study / "P2" / "RT")
    assert [len(pair.source.files) for pair in pairs if pair.source is not None] == [3]
    assert not lacking


def test_an_archive_without_labels_is_not_unpacked_for_them(study: Path, tmp_path: Path) -> None:
    shutil.rmtree(study / "P1" / "RT")
    shutil.rmtree(study / "P2" / "RT")
    place = Path(shutil.make_archive(str(tmp_path / "all"), "zip", study))
    assert not holds_objects(place)
    assert split_drop([place]).images == (place,)
    (tmp_path / "bad.zip").write_bytes(place.read_bytes()[:-30])
    assert not holds_objects(tmp_path / "bad.zip")
