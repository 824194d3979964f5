"""Shared DICOM: no byte names anyone, image and labels fit together, and other programs find no error."""

import json
import shutil
import subprocess
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_files import AXIAL, noise, write_series
from planted_identities import MARKS, plant_series
from workflow_phantoms import read_tree

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.project.identities import SHARED_PATIENT, SHARED_UID
from napari_medseg.core.records import Case, Correction
from napari_medseg.core.tasks.bundled_tasks import get_task
from napari_medseg.workflow.cases import add_cases
from napari_medseg.workflow.output.export import export_corrections
from napari_medseg.workflow.output.export_plan import ExportItem
from napari_medseg.workflow.sharing.share_dicom import share_cases
from napari_medseg.workflow.sharing.uid_map import keep_pseudonyms, make_pseudonyms
from napari_medseg.workflow.workspace import PACKAGE_DIR, Workspace

KEPT_BY_THE_PROFILE = ("Manufacturer", "ManufacturerModelName", "SoftwareVersions", "BodyPartExamined")
highdicom = pytest.importorskip("highdicom")


def drop(ws: Workspace, folder: Path) -> ExportItem:
    """An accepted case of a DICOM series, with two small lungs."""
    image = formats.read(folder)
    (case,) = add_cases(ws, [image], "lungs")
    return make_item(case, image)


def make_item(case: Case, image: Image) -> ExportItem:
    labels = np.zeros(image.spatial_shape, np.uint8)
    labels[..., 2:9, 1:5] = 1
    labels[..., 2:9, 9:14] = 2
    correction = Correction(
        id=case.id,
        review_id=1,
        case_id=case.id,
        model="lungs-unet@4",
        image_file="",
        labels_file="labels/a.tif",
        sha256="0",
        seconds=9.0,
        changed_voxels=3,
        created="2026-11-20T10:00:00.000+00:00",
        who="reader 2",
    )
    return ExportItem(case, get_task("lungs"), correction, labels, image)


def plant(folder: Path) -> Path:
    """A series with identities everywhere but in what the profile keeps for the sake of the pixels."""
    for path in plant_series(folder).iterdir():
        one = pydicom.dcmread(path)
        one.AnatomicRegionSequence[0].CodeMeaning = "Chest"
        for keyword in KEPT_BY_THE_PROFILE:
            setattr(one, keyword, "CHEST" if keyword == "BodyPartExamined" else "maker")
        one.save_as(path, enforce_file_format=True)
    return folder


def search(folder: Path) -> list[tuple[str, str]]:
    found = []
    for path in folder.rglob("*"):
        content = path.read_bytes().lower() if path.is_file() else b""
        found += [(path.name, mark) for mark in MARKS if mark.encode() in content or mark in str(path).lower()]
    return found


def test_no_byte_of_shared_files_names_anyone(ws: Workspace, tmp_path: Path) -> None:
    item = drop(ws, plant(tmp_path / "in"))
    assert search(tmp_path / "in")
    pseudonyms = make_pseudonyms(ws)
    shared = share_cases([item], tmp_path / "out", pseudonyms)
    assert not shared.refused
    assert search(tmp_path / "out") == []
    keep_pseudonyms(ws, pseudonyms)
    assert "1.2.777.9" in ws.project.identities.read_shared(SHARED_UID).values()
    ((new, old),) = ws.project.identities.read_shared(SHARED_PATIENT).items()
    assert old == "ZQPID4711"
    assert pydicom.dcmread(tmp_path / "out" / "patient-1_case-1_lungs" / "image_0001.dcm").PatientID == new


def test_images_and_labels_fit_together_also_in_a_later_export(ws: Workspace, tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    options: dict[str, Any] = {"FrameOfReferenceUID": "1.2.9", "PatientName": "Erika", "PatientID": "4711"}
    write_series(first, noise((3, 12, 16)), AXIAL, SeriesInstanceUID="1.2.5.1", **options)
    write_series(second, noise((2, 12, 16), 7), AXIAL, SeriesInstanceUID="1.2.5.2", **options)
    items = [drop(ws, first), drop(ws, second)]
    share_cases(items[:1], tmp_path / "early", make_pseudonyms(ws))
    share_cases(items, tmp_path / "out", make_pseudonyms(ws))
    before = read_tree(tmp_path / "out")
    share_cases(items, tmp_path / "out", make_pseudonyms(ws))
    assert read_tree(tmp_path / "out") == before
    folder = tmp_path / "out" / "patient-1_case-1_lungs"
    assert read_tree(tmp_path / "early" / folder.name) == read_tree(folder)
    image, seg = formats.read(folder), highdicom.seg.segread(folder / "labels.seg.dcm")
    np.testing.assert_array_equal(image.pixels, items[0].image.pixels)
    np.testing.assert_allclose(image.affine, items[0].image.affine)
    named = {one.SOPInstanceUID for one in map(pydicom.dcmread, sorted(folder.glob("image_*.dcm")))}
    assert {one.ReferencedSOPInstanceUID for one in seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence} == named
    others = pydicom.dcmread(tmp_path / "out" / "patient-1_case-2_lungs" / "image_0001.dcm")
    for keyword in ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert others[keyword].value == seg[keyword].value != options.get(keyword, "")
    assert others.SeriesInstanceUID != seg.SeriesInstanceUID
    assert seg.PatientIdentityRemoved == others.PatientIdentityRemoved == "YES"
    assert others.DeidentificationMethodCodeSequence[0].CodeValue == "113100"


def test_a_series_in_an_archive_is_shared(ws: Workspace, tmp_path: Path) -> None:
    write_series(tmp_path / "a", noise((3, 12, 16)), AXIAL, PatientName="Erika", PatientID="4711")
    archive = Path(shutil.make_archive(str(tmp_path / "study"), "zip", tmp_path / "a"))
    (source,) = formats.find_images(archive)
    image = formats.read_series(source.paths)
    (case,) = add_cases(ws, [image], "lungs")
    shared = share_cases([make_item(case, image)], tmp_path / "out", make_pseudonyms(ws))
    assert not shared.refused
    again = formats.read(tmp_path / "out" / "patient-1_case-1_lungs")
    np.testing.assert_array_equal(again.pixels, image.pixels)


def test_texts_that_the_profile_does_not_list_name_nobody(ws: Workspace, tmp_path: Path) -> None:
    texts = {
        "PatientBirthDateInAlternativeCalendar": "ZQTEXT",
        "CommentsOnTheScheduledProcedureStep": "ZQTEXT",
        "RetrieveURL": "http://zqname/",
        "PlacerOrderNumberProcedure": "ZQPID",
        "PartialViewDescription": "ZQTEXT",
    }
    write_series(tmp_path / "in", noise((3, 12, 16)), AXIAL, RescaleType="HU", **texts)
    item = drop(ws, tmp_path / "in")
    assert not share_cases([item], tmp_path / "out", make_pseudonyms(ws)).refused
    assert search(tmp_path / "out") == []
    path = tmp_path / "out" / "patient-1_case-1_lungs" / "image_0001.dcm"
    assert pydicom.dcmread(path).RescaleType == "HU"


def test_what_was_listed_is_checked_and_removed_when_it_is_shared_no_more(ws: Workspace, tmp_path: Path) -> None:
    write_series(tmp_path / "a", noise((3, 12, 16)), AXIAL)
    item = drop(ws, tmp_path / "a")
    share_cases([item], tmp_path / "out", make_pseudonyms(ws))
    if sha256sum := shutil.which("sha256sum"):
        subprocess.run([sha256sum, "--check", "--strict", "SHA256SUMS"], cwd=tmp_path / "out", check=True)
    entry = json.loads((tmp_path / "out" / "shared.json").read_text())["cases"][0]
    assert entry["folder"] == "patient-1_case-1_lungs"
    (tmp_path / "other" / entry["folder"]).mkdir(parents=True)
    (tmp_path / "other" / entry["folder"] / "image_0001.dcm").write_text("mine")
    with pytest.raises(MedSegError, match="was not written by this command"):
        share_cases([item], tmp_path / "other", make_pseudonyms(ws))
    assert (tmp_path / "other" / entry["folder"] / "image_0001.dcm").read_text() == "mine"


def test_burnt_in_text_is_told_and_what_is_no_dicom_is_left_out(ws: Workspace, tmp_path: Path) -> None:
    write_series(tmp_path / "a", noise((3, 12, 16)), AXIAL, BurnedInAnnotation="YES", BodyPartExamined="CHEST")
    formats.write_image(tmp_path / "b.tif", Image(noise((40, 30)), "YX", (1.0, 1.0), name="b"))
    items = [drop(ws, tmp_path / "a"), drop(ws, tmp_path / "b.tif")]
    shared = share_cases(items, tmp_path / "out", make_pseudonyms(ws))
    assert "burnt into the pixels" in shared.remarks[0]
    assert "not from DICOM" in shared.refused[0]
    with pytest.raises(MedSegError, match=r"no case can be shared.*not from DICOM"):
        share_cases(items[1:], tmp_path / "none", make_pseudonyms(ws))
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("syntax", ["plain", "JPEG 2000", "RLE"])
def test_compressed_pixels_stay_as_they_are(ws: Workspace, tmp_path: Path, syntax: str) -> None:
    write_series(tmp_path / "a", noise((2, 64, 64)), AXIAL)
    for path in (tmp_path / "a").iterdir():
        one = pydicom.dcmread(path)
        if syntax != "plain":
            one.compress(pydicom.uid.RLELossless if syntax == "RLE" else pydicom.uid.JPEG2000Lossless)
        one.save_as(path)
    item = drop(ws, tmp_path / "a")
    share_cases([item], tmp_path / "out", make_pseudonyms(ws))
    shared = sorted((tmp_path / "out" / "patient-1_case-1_lungs").glob("image_*.dcm"))
    for path, source in zip(shared, item.image.sources, strict=True):
        assert pydicom.dcmread(path).PixelData == pydicom.dcmread(source).PixelData


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="needs dicom3tools")
def test_dciodvfy_finds_no_error_that_the_source_does_not_have(ws: Workspace, tmp_path: Path) -> None:
    item = drop(ws, copy_scan(tmp_path / "in"))
    share_cases([item], tmp_path / "out", make_pseudonyms(ws))
    folder = tmp_path / "out" / "patient-1_case-1_lungs"
    known = list_errors(item.image.sources[0])
    assert list_errors(folder / "image_0001.dcm") - known == set()
    assert list_errors(folder / "labels.seg.dcm") == set()


def copy_scan(folder: Path) -> Path:
    """Three slices of a real CT."""
    folder.mkdir()
    for path in sorted((PACKAGE_DIR / "samples" / "ct_a0001" / "dicom").glob("*.dcm"))[:3]:
        shutil.copy(path, folder)
    return folder


def list_errors(path: Path) -> set[str]:
    done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    return {line for line in done.stderr.splitlines() if line.startswith("Error")}


def test_structures_are_shared_with_the_same_map_and_name_nobody(ws: Workspace, tmp_path: Path) -> None:
    item = drop(ws, plant(tmp_path / "in"))
    shared = share_cases([item], tmp_path / "out", make_pseudonyms(ws), labels_as="both")
    assert not shared.refused
    assert search(tmp_path / "out") == []
    folder = tmp_path / "out" / "patient-1_case-1_lungs"
    images = [pydicom.dcmread(path) for path in sorted(folder.glob("image_*.dcm"))]
    structures = pydicom.dcmread(folder / "labels.rtstruct.dcm")
    seg = pydicom.dcmread(folder / "labels.seg.dcm")
    (frame,) = structures.ReferencedFrameOfReferenceSequence
    (series,) = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence
    assert {one.ReferencedSOPInstanceUID for one in series.ContourImageSequence} == {i.SOPInstanceUID for i in images}
    assert series.SeriesInstanceUID == images[0].SeriesInstanceUID
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert structures[keyword].value == seg[keyword].value == images[0][keyword].value
    assert structures.PatientIdentityRemoved == "YES"
    assert structures.StructureSetDate == "19000101"
    image = formats.read(folder)
    for name in ("labels.rtstruct.dcm", "labels.seg.dcm"):
        np.testing.assert_array_equal(formats.read_mask(folder / name, image).pixels, item.labels)
    entry = json.loads((tmp_path / "out" / "shared.json").read_text())["cases"][0]
    assert entry["labels_files"] == ["labels.seg.dcm", "labels.rtstruct.dcm"]
    share_cases([item], tmp_path / "out", make_pseudonyms(ws), labels_as="rtstruct")
    assert not (folder / "labels.seg.dcm").exists(), "what was written and is wanted no more"
    with pytest.raises(MedSegError, match=r"choose one of .*both.*dicom-seg.*rtstruct"):
        share_cases([item], tmp_path / "out", make_pseudonyms(ws), labels_as="png")


@pytest.mark.skipif(shutil.which("dcmdump") is None, reason="needs dcmtk")
def test_dcmtk_reads_what_is_shared_and_finds_no_identity(ws: Workspace, tmp_path: Path) -> None:
    item = drop(ws, plant(tmp_path / "in"))
    share_cases([item], tmp_path / "out", make_pseudonyms(ws), labels_as="both")
    for path in sorted((tmp_path / "out").rglob("*.dcm")):
        done = subprocess.run(
            ["dcmdump", "+L", str(path)], capture_output=True, text=True, errors="replace", check=True
        )
        assert not done.stderr
        assert not [mark for mark in MARKS if mark in done.stdout.lower()]
        said = pydicom.dcmread(path, stop_before_pixels=True)
        for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "PatientID", "Modality"):
            assert f"[{said[keyword].value}]" in done.stdout


def test_cases_are_never_all_in_memory_together(ws: Workspace, tmp_path: Path) -> None:
    class Counted(Sequence[ExportItem]):
        def __init__(self) -> None:
            self.alive: weakref.WeakSet[ExportItem] = weakref.WeakSet()
            self.most = 0

        def __len__(self) -> int:
            return 6

        def __getitem__(self, index: Any) -> ExportItem:
            item = make_item(*cases[index])
            self.alive.add(item)
            self.most = max(self.most, len(self.alive))
            return item

    cases = []
    for number in range(6):
        write_series(tmp_path / str(number), noise((2, 12, 16), number), AXIAL, SeriesInstanceUID=f"1.2.5.{number}")
        image = formats.read(tmp_path / str(number))
        cases.append((add_cases(ws, [image], "lungs")[0], image))
    items = Counted()
    assert not share_cases(items, tmp_path / "out", make_pseudonyms(ws)).refused
    assert items.most <= 2
    items = Counted()
    export_corrections(items, tmp_path / "labels", ".nii.gz", with_images=True)
    assert items.most <= 2
