"""Data sets: other programs read them, groups are not split, and a project is made of them again."""

import csv
import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import write_series
from planted_identities import find_identities, plant_pictures
from scipy import ndimage
from workflow_phantoms import phantom, phantom_labels, predicted, read_tree

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.project.case_files import read_case_labels
from napari_medseg.core.project.review_region import RegionOutline, ReviewRegion, read_reviewed_pixels
from napari_medseg.core.records import Case, Review
from napari_medseg.core.tasks.custom_task import make_custom_task
from napari_medseg.workflow.cases import add_cases, list_current_corrections, load_image
from napari_medseg.workflow.data_set.card import read_data_card
from napari_medseg.workflow.data_set.layouts import LAYOUTS
from napari_medseg.workflow.data_set.plan import choose_folds, leave_out_copies
from napari_medseg.workflow.data_set.read import import_data_set
from napari_medseg.workflow.data_set.write import write_data_set
from napari_medseg.workflow.output.export import list_accepted_rows, read_export_item
from napari_medseg.workflow.review import accept, open_review
from napari_medseg.workflow.sharing.written_cases import WrittenCases
from napari_medseg.workflow.tasks.custom_tasks import add_task
from napari_medseg.workflow.workspace import Workspace

PARTLY = ReviewRegion(outlines=(RegionOutline.from_plane(0, 20, 64),))


def correct(ws: Workspace, image: Image, labels: np.ndarray, region: ReviewRegion | None = None) -> Case:
    """Accept labels of an image, of the whole of it or of a part."""
    (case,) = add_cases(ws, [image], "lungs")
    draft = open_review(ws, case, None)
    if region is not None:
        draft.save_review_region(region)
    accept(ws, draft, labels, image)
    return case


def fill(ws: Workspace, n_groups: int = 4) -> None:
    """Two planes of each patient; one of the first is reviewed in part."""
    for number in range(2 * n_groups):
        labels = phantom_labels()
        labels[12 + number : 14 + number, 10] = 0
        image = phantom(number, f"patient {number // 2}")
        correct(ws, image, labels, PARTLY if number == 0 else None)


def write(ws: Workspace, folder: Path, layout: str, task: str = "lungs") -> WrittenCases:
    return write_data_set(
        list_accepted_rows(ws, task), partial(read_export_item, ws), ws.project.folder, folder, layout, "CC BY 4.0"
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_hold_out_and_groups_stay_together_and_writing_twice_changes_nothing(
    ws: Workspace, tmp_path: Path, layout: str
) -> None:
    fill(ws)
    written = write(ws, tmp_path / "out", layout)
    assert not written.refused
    before = read_tree(tmp_path / "out")
    write(ws, tmp_path / "out", layout)
    assert read_tree(tmp_path / "out") == before
    card = read_data_card(tmp_path / "out")
    sides: dict[str, set[Any]] = {}
    for case in card.cases:
        sides.setdefault(case.group, set()).add((case.held_out, case.fold))
    assert all(len(side) == 1 for side in sides.values())
    assert {held for one in sides.values() for held, _ in one} == {True, False}
    held_out = {case.group for case, _ in list_current_corrections(ws, "lungs") if case.held_out}
    assert {case.group for case in card.cases if case.held_out} == held_out
    with (tmp_path / "out" / "split.csv").open() as file:
        assert {row["group"] for row in csv.DictReader(file) if row["set"] == "test"} == held_out
    assert "CC BY 4.0" in (tmp_path / "out" / "README.md").read_text()
    listed = {line.split("  ")[1] for line in (tmp_path / "out" / "SHA256SUMS").read_text().splitlines()}
    assert listed == {name for name in before if name not in ("SHA256SUMS", ".medseg-files.json")}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_project_is_made_of_a_data_set_with_its_corrections(
    ws: Workspace, open_workspace: Any, tmp_path: Path, layout: str
) -> None:
    fill(ws)
    write(ws, tmp_path / "out", layout)
    before = list_corrections(ws)
    other = open_workspace(tmp_path / "other")
    card = read_data_card(tmp_path / "out")
    states = [outcome.state for outcome in import_data_set(other, tmp_path / "out", card)]
    assert states == ["accepted"] * 8
    assert [one.state for one in import_data_set(other, tmp_path / "out", card)] == ["already there"] * 8
    after = list_corrections(other)
    assert after.keys() == before.keys()
    for content, (labels, seen, held_out) in before.items():
        np.testing.assert_array_equal(after[content][0], labels)
        np.testing.assert_array_equal(after[content][1], seen)
        assert after[content][2] == held_out


def list_corrections(ws: Workspace) -> dict[str, tuple[Any, Any, bool]]:
    """Labels, reviewed pixels and side of each correction, by the hash of its image."""
    folder = ws.project.folder
    return {
        case.content_hash: (
            read_case_labels(folder, case, one),
            read_reviewed_pixels(folder, case, one),
            case.held_out,
        )
        for case, one in list_current_corrections(ws, "lungs")
    }


def test_a_group_on_the_other_side_is_refused(ws: Workspace, open_workspace: Any, tmp_path: Path) -> None:
    fill(ws)
    write(ws, tmp_path / "out", "folders")
    card = read_data_card(tmp_path / "out")
    turned = card.model_copy(
        update={"cases": tuple(one.model_copy(update={"held_out": not one.held_out}) for one in card.cases)}
    )
    other = open_workspace(tmp_path / "other")
    assert {one.state for one in import_data_set(other, tmp_path / "out", card)} == {"accepted"}
    refused = list(import_data_set(other, tmp_path / "out", turned))
    assert {one.state for one in refused} == {"refused"}
    assert "trained on" in refused[0].text


def test_nnunet_reads_values_that_follow_each_other_and_skips_what_nobody_reviewed(
    ws: Workspace, tmp_path: Path
) -> None:
    fill(ws)
    written = write(ws, tmp_path, "nnunet")
    content = json.loads((tmp_path / "dataset.json").read_text())
    assert content["labels"] == {"background": 0, "right lung": 1, "left lung": 2, "ignore": 3}
    assert content["numTraining"] == len(list((tmp_path / "imagesTr").iterdir()))
    assert any("skips them" in remark for remark in written.remarks)
    (partly,) = (one for one in read_data_card(tmp_path).cases if one.reviewed)
    side = "Ts" if partly.held_out else "Tr"
    seen = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / f"labels{side}" / f"{partly.name}.nii.gz")))
    reviewed = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / partly.reviewed)))
    assert ((seen == 3) == (reviewed == 0)).all()
    for image in (tmp_path / "imagesTr").iterdir():
        label = tmp_path / "labelsTr" / image.name.replace("_0000", "")
        one, other = sitk.ReadImage(str(image)), sitk.ReadImage(str(label))
        assert one.GetSize() == other.GetSize()
        np.testing.assert_allclose(one.GetSpacing(), other.GetSpacing())
    splits = json.loads((tmp_path / "splits_final.json").read_text())
    names = {path.name.removesuffix(".nii.gz") for path in (tmp_path / "labelsTr").iterdir()}
    for split in splits:
        assert set(split["train"]) | set(split["val"]) == names
        assert not set(split["train"]) & set(split["val"])
    assert sorted(name for split in splits for name in split["val"]) == sorted(names)


def test_volumes_of_dicom_lie_where_they_lay(ws: Workspace, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for number in range(2):
        write_series(
            tmp_path / f"s{number}",
            rng.integers(0, 900, (5, 48, 64)).astype(np.int16),
            PatientID=f"zq{number}",
            SeriesInstanceUID=f"1.2.7.{number}",
        )
        image = formats.read(tmp_path / f"s{number}")
        correct(ws, image, np.stack([phantom_labels()] * 5))
    write(ws, tmp_path / "out", "nnunet")
    assert json.loads((tmp_path / "out" / "dataset.json").read_text())["channel_names"] == {"0": "CT"}
    image = sitk.ReadImage(str(next((tmp_path / "out").glob("images*/*.nii.gz"))))
    labels = sitk.ReadImage(str(next((tmp_path / "out").glob("labels*/*.nii.gz"))))
    assert image.GetSize() == labels.GetSize() == (64, 48, 5)
    np.testing.assert_allclose(image.GetDirection(), labels.GetDirection())
    np.testing.assert_allclose(image.GetOrigin(), labels.GetOrigin(), atol=1e-3)
    assert sitk.GetArrayViewFromImage(image).min() >= -1024
    assert not any(b"zq" in content for content in read_tree(tmp_path / "out").values())


def test_no_byte_of_a_data_set_names_anyone(ws: Workspace, tmp_path: Path) -> None:
    for path in plant_pictures(tmp_path / "ZQFOLDER Erika"):
        image = formats.read(path)
        correct(ws, image, np.broadcast_to(phantom_labels(), image.spatial_shape))
    assert not write(ws, tmp_path / "out", "folders").refused
    assert find_identities(tmp_path / "out") == []


def test_monai_loads_the_list(ws: Workspace, tmp_path: Path) -> None:
    from monai.data import load_decathlon_datalist
    from monai.transforms import LoadImage

    fill(ws)
    write(ws, tmp_path, "monai")
    trained = load_decathlon_datalist(str(tmp_path / "dataset.json"), True, "training", str(tmp_path))
    held_out = load_decathlon_datalist(str(tmp_path / "dataset.json"), True, "testing", str(tmp_path))
    card = read_data_card(tmp_path)
    assert len(trained) == sum(not case.held_out for case in card.cases)
    assert len(held_out) == sum(case.held_out for case in card.cases)
    assert {one["fold"] for one in trained} == {case.fold for case in card.cases if not case.held_out}
    label = LoadImage(image_only=True)(trained[0]["label"])
    assert set(np.unique(label)) == {0, 1, 2}
    assert LoadImage(image_only=True)(trained[0]["image"]).shape == label.shape


def test_coco_has_one_file_for_each_set(ws: Workspace, tmp_path: Path) -> None:
    coco_tools = pytest.importorskip("pycocotools.coco")
    fill(ws)
    write(ws, tmp_path, "coco")
    found = {}
    for side in ("train", "val", "test"):
        data = coco_tools.COCO(str(tmp_path / "annotations" / f"instances_{side}.json"))
        for one in data.loadImgs(data.getImgIds()):
            drawn = np.zeros((one["height"], one["width"]), np.uint8)
            for annotation in data.loadAnns(data.getAnnIds(one["id"])):
                drawn[data.annToMask(annotation) > 0] = annotation["category_id"]
            found[one["file_name"]] = (side, drawn)
    card = read_data_card(tmp_path)
    assert len(found) == len(card.cases)
    for case in card.cases:
        side, drawn = found[Path(case.image).name]
        assert side == ("test" if case.held_out else "val" if case.fold == 0 else "train")
        np.testing.assert_array_equal(
            drawn, formats.read_labels(tmp_path / case.labels, formats.read(tmp_path / case.image))
        )


def test_objects_keep_their_numbers_beside_what_nnunet_reads(
    ws: Workspace, open_workspace: Any, tmp_path: Path
) -> None:
    add_task(ws, make_custom_task("cells", ["cell"], kind="colour", instances=True))
    labels = np.zeros((40, 50), np.uint32)
    labels[3:9, 4:12], labels[3:9, 12:20], labels[20:30, 5:9] = 70_279, 2, 7
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 255, (40, 50, 3), np.uint8)
        image = Image(pixels, "YXC", units="rgb", name=f"slide {number}", group=f"slide {number}")
        (case,) = add_cases(ws, [image], "cells")
        accept(ws, open_review(ws, case, None), labels, image)
    written = write(ws, tmp_path / "out", "nnunet", "cells")
    assert any("no numbers of objects" in remark for remark in written.remarks)
    content = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert (content["file_ending"], content["labels"]) == (".png", {"background": 0, "cell": 1})
    other = open_workspace(tmp_path / "other")
    outcomes = list(import_data_set(other, tmp_path / "out", read_data_card(tmp_path / "out")))
    assert [one.state for one in outcomes] == ["accepted"] * 2
    for case, correction in list_current_corrections(other, "cells"):
        np.testing.assert_array_equal(read_case_labels(other.project.folder, case, correction), labels)


def test_nnunet_takes_one_kind_of_images_and_coco_no_volume(ws: Workspace, tmp_path: Path) -> None:
    fill(ws, 1)
    volume = Image(np.random.default_rng(5).integers(0, 200, (3, 48, 64)).astype(np.uint8), "ZYX", (2.0, 1.0, 1.0))
    correct(ws, volume, np.stack([phantom_labels()] * 3))
    for layout, reason in (("nnunet", "one kind of images"), ("coco", "holds planes")):
        written = write(ws, tmp_path / layout, layout)
        assert len(written.refused) == 1
        assert reason in written.refused[0]
        assert len(read_data_card(tmp_path / layout).cases) == 2
    assert not write(ws, tmp_path / "folders", "folders").refused


def test_files_of_others_are_not_touched(ws: Workspace, tmp_path: Path) -> None:
    with pytest.raises(MedSegError, match="nothing is accepted"):
        write(ws, tmp_path, "nnunet")
    fill(ws, 1)
    (tmp_path / "dataset.json").write_text("mine")
    with pytest.raises(MedSegError, match="nothing is overwritten"):
        write(ws, tmp_path, "nnunet")
    assert [path.name for path in tmp_path.iterdir() if path.name == "dataset.json"]
    assert (tmp_path / "dataset.json").read_text() == "mine"
    with pytest.raises(MedSegError, match=r"coco.*folders.*monai.*nnunet"):
        write(ws, tmp_path, "voc")


def test_folds_are_even_and_do_not_depend_on_the_order(ws: Workspace) -> None:
    fill(ws, 7)
    cases = [case for case, _ in list_current_corrections(ws, "lungs")]
    folds = choose_folds(cases)
    assert choose_folds(cases[::-1]) == folds
    assert set(folds) == {case.group for case in cases if not case.held_out}
    assert max(folds.values()) == min(4, len(folds) - 1)
    assert choose_folds([case for case in cases if case.group == cases[0].group]) == {}


def test_predicted_cases_are_left_out(ws: Workspace, tmp_path: Path) -> None:
    fill(ws, 1)
    predicted(ws, phantom(50))
    write(ws, tmp_path, "folders")
    assert len(read_data_card(tmp_path).cases) == 2


def test_an_earlier_split_and_card_do_not_outlive_the_cases(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(ws)
    write(ws, tmp_path, "nnunet")
    assert (tmp_path / "splits_final.json").exists()
    rows = list_accepted_rows(ws, "lungs")
    group = next(case.group for case, *_ in rows if not case.held_out)
    few = [row for row in rows if row[0].group == group]
    write_data_set(few, partial(read_export_item, ws), ws.project.folder, tmp_path, "nnunet")
    assert not (tmp_path / "splits_final.json").exists()

    read = partial(read_export_item, ws)
    n_read = 0

    def fail_later(row: Any) -> Any:
        nonlocal n_read
        n_read += 1
        if n_read == len(few) + 1:
            raise MedSegError("the disk is gone")
        return read(row)

    with pytest.raises(MedSegError, match="the disk is gone"):
        write_data_set(few, fail_later, ws.project.folder, tmp_path, "nnunet")
    assert not (tmp_path / "data_card.json").exists()


@pytest.mark.parametrize("kind", ["image", "labels"])
def test_a_file_that_changed_is_not_imported(ws: Workspace, open_workspace: Any, tmp_path: Path, kind: str) -> None:
    fill(ws, 1)
    write(ws, tmp_path / "out", "folders")
    card = read_data_card(tmp_path / "out")
    first, second = (tmp_path / "out" / getattr(case, kind) for case in card.cases)
    first.write_bytes(second.read_bytes())
    other = open_workspace(tmp_path / "other")
    outcomes = list(import_data_set(other, tmp_path / "out", card))
    assert [one.state for one in outcomes] == ["refused", "accepted"]
    assert "SHA256SUMS" in outcomes[0].text
    assert len(list_current_corrections(other, "lungs")) == 1


def test_pictures_keep_their_spacing(ws: Workspace, open_workspace: Any, tmp_path: Path) -> None:
    image = replace(phantom(3, "patient 3"), spacing_mm=(0.5, 0.25))
    correct(ws, image, phantom_labels())
    write(ws, tmp_path / "out", "folders")
    other = open_workspace(tmp_path / "other")
    (outcome,) = import_data_set(other, tmp_path / "out", read_data_card(tmp_path / "out"))
    assert outcome.state == "accepted"
    assert outcome.case is not None
    assert load_image(other, outcome.case).spacing_mm == pytest.approx((0.5, 0.25))


def test_a_pattern_of_groups_does_not_train_on_what_is_held_out(
    ws: Workspace, open_workspace: Any, tmp_path: Path
) -> None:
    fill(ws)
    write(ws, tmp_path / "out", "folders")
    card = read_data_card(tmp_path / "out")
    other = open_workspace(tmp_path / "other")
    other.project.identities.set_pattern(r"(case-[0-9]+)")
    for outcome, one in zip(import_data_set(other, tmp_path / "out", card), card.cases, strict=True):
        assert outcome.case is not None
        assert outcome.case.held_out == one.held_out


def test_an_image_that_trains_here_is_not_taken_for_the_hold_out(
    ws: Workspace, open_workspace: Any, tmp_path: Path
) -> None:
    fill(ws)
    write(ws, tmp_path / "out", "folders")
    card = read_data_card(tmp_path / "out")
    held_out = next(case for case in card.cases if case.held_out)
    other = open_workspace(tmp_path / "other")
    image = replace(formats.read(tmp_path / "out" / held_out.image), group="another")
    (here,) = add_cases(other, [image], "lungs")
    other.project.set_hold_out(here.group, False)
    outcomes = {one.name: one for one in import_data_set(other, tmp_path / "out", card)}
    assert [one.state for one in outcomes.values()].count("refused") == 1
    assert list_current_corrections(other, "lungs")[0][0].id != here.id
    assert other.project.read_case_history(here.id).open_review is None


def test_a_case_whose_import_fails_leaves_no_open_review(
    ws: Workspace, open_workspace: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(ws, 1)
    write(ws, tmp_path / "out", "folders")

    def fail(*_: object) -> None:
        raise MedSegError("the disk is full")

    monkeypatch.setattr("napari_medseg.workflow.data_set.read.write_accepted_files", fail)
    other = open_workspace(tmp_path / "other")
    outcomes = list(import_data_set(other, tmp_path / "out", read_data_card(tmp_path / "out")))
    assert {one.state for one in outcomes} == {"refused"}
    assert not other.project.read_records(Review)
    left = list((other.project.folder / "journal").iterdir())
    assert not left, "the next review gets the same id, and would take its reviewed part from there"


def test_copies_of_what_is_held_out_are_left_out(ws: Workspace) -> None:
    textured = np.clip(ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(256, 256)), 3) * 900 + 120, 0, 240)
    labels = np.zeros((256, 256), np.uint8)
    labels[20:90, 20:90], labels[20:90, 140:200] = 1, 2
    cases = []
    for number in range(2):
        image = Image(textured.astype(np.uint8) + number, "YX", (0.7, 0.7), units="grey", group=f"patient {number}")
        cases.append(correct(ws, image, labels))
    for case, is_held_out in zip(cases, (True, False), strict=True):
        ws.project.set_hold_out(case.group, is_held_out)
    kept, texts = leave_out_copies(ws.project.folder, list_accepted_rows(ws, "lungs"))
    assert [case.id for case, *_ in kept] == [cases[0].id]
    assert "an image of the hold-out" in texts[0]
