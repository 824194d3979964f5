"""Export: labels on the grid of their source, with provenance and sizes; nothing that is wrong, and nothing halfway."""

import csv
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import noise, write_series
from PIL import Image as Picture

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.file_names import get_name_key
from napari_medseg.core.grouping.keyed_groups import compute_group_digest, make_keyed_group
from napari_medseg.core.image import Image
from napari_medseg.core.quality.label_checks import swap_sides
from napari_medseg.core.records import Case, Correction
from napari_medseg.core.tasks.bundled_tasks import get_task
from napari_medseg.workflow.output import export
from napari_medseg.workflow.output.export_plan import ExportItem
from napari_medseg.workflow.output.image_names import ImageNamer, make_namer
from napari_medseg.workflow.output.staged_files import ExportCancelled

LUNGS = get_task("lungs")
BY_FILE = ImageNamer("stem", b"k")
AFFINE = np.array([[-0.7, 0.05, 0, 31], [0, 0.8, 0, -12], [0, 0, 2.5, 1 / 3], [0, 0, 0, 1]])


def export_corrections(
    items: list[ExportItem],
    folder: Path,
    suffix: str,
    with_images: bool,
    namer: ImageNamer = BY_FILE,
    *,
    straighten: bool = False,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> list[Path]:
    """Export cases under the names of their files, which these tests tell apart."""
    return export.export_corrections(
        items, folder, suffix, with_images, namer, straighten=straighten, is_cancelled=is_cancelled
    )


def item(image: Image, number: int = 1, labels: np.ndarray | None = None) -> ExportItem:
    if labels is None:
        labels = np.zeros(image.spatial_shape, np.uint8)
        labels[..., 2:5, 1:4] = 1
        labels[..., 2:5, 6:9] = 2
    case = Case(
        id=number,
        task="lungs",
        name=f"patient 7 case {number}",
        group=make_keyed_group("patient", 7, compute_group_digest(image.group, b"k")),
        content_hash=image.content_hash,
        axes=image.axes,
        shape=image.pixels.shape,
        spacing_mm=image.spacing_mm,
        sources=tuple(str(path) for path in image.sources),
        held_out=False,
        created="2026-11-20T10:00:00.000+00:00",
        file_name=image.name,
    )
    correction = Correction(
        id=number,
        review_id=number,
        case_id=number,
        model="lungs-unet@3",
        image_file="images/a.tif",
        labels_file="labels/a.tif",
        sha256="0",
        seconds=252.34,
        changed_voxels=1204,
        who="mara",
        created="2026-11-20T10:05:00.000+00:00",
        device="CPU (OpenVINO)",
        runtime="OpenVINO 2026.4.1, fp32",
    )
    return ExportItem(case, get_task(case.task), correction, labels, image)


def nifti(folder: Path, name: str = "scan.nii.gz", seed: int = 0) -> Image:
    data = np.random.default_rng(seed).integers(-1000, 500, (10, 8, 6)).astype(np.int16)
    nib.save(nib.Nifti1Image(data, AFFINE), folder / name)
    return formats.read(folder / name)


def picture(folder: Path, name: str = "case_1.png", seed: int = 0) -> Image:
    Picture.fromarray(np.random.default_rng(seed).integers(0, 255, (8, 10)).astype(np.uint8)).save(folder / name)
    return formats.read(folder / name)


@pytest.mark.parametrize("suffix", [".tif", ".nii.gz", ".nii"])
def test_volume_is_exported_and_reads_back_on_its_grid(tmp_path: Path, suffix: str) -> None:
    one = item(nifti(tmp_path))
    paths = export_corrections([one], tmp_path / "out", suffix, with_images=True)
    assert [path.name for path in paths] == [
        f"scan_labels{suffix}",
        f"scan_image{suffix}",
        "provenance.json",
        "measurements.csv",
    ]
    np.testing.assert_array_equal(formats.read_labels(paths[0], one.image), one.labels)
    assert [source.name for source in formats.find_images(tmp_path / "out")] == [f"scan_image{suffix}"]
    image = formats.read(paths[1])
    np.testing.assert_array_equal(image.pixels, one.image.pixels)
    assert image.has_same_grid(one.image)
    if suffix != ".tif":
        source = nib.load(tmp_path / "scan.nii.gz")
        assert nib.load(paths[0]).affine.tobytes() == nib.load(paths[1]).affine.tobytes() == source.affine.tobytes()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(path.name for path in paths)


def test_provenance_says_where_labels_come_from(tmp_path: Path) -> None:
    one = item(nifti(tmp_path))
    paths = export_corrections([one], tmp_path / "out", ".nii.gz", with_images=False)
    content = json.loads((tmp_path / "out" / "provenance.json").read_text(encoding="utf-8"))
    (entry,) = content["cases"]
    assert content["program"].startswith("napari-medseg ")
    expected = {
        "case": "patient 7 case 1",
        "group": one.case.group,
        "task": "lungs",
        "labels_file": "scan_labels.nii.gz",
        "labels_file_sha256": hashlib.sha256(paths[0].read_bytes()).hexdigest(),
        "image_file": None,
        "source_files": [
            {"name": "scan.nii.gz", "sha256": hashlib.sha256((tmp_path / "scan.nii.gz").read_bytes()).hexdigest()}
        ],
        "content_sha256": one.image.content_hash,
        "model": "lungs-unet@3",
        "predicted_on": "CPU (OpenVINO)",
        "predicted_with": "OpenVINO 2026.4.1, fp32",
        "who": "mara",
        "accepted": "2026-11-20T10:05:00.000+00:00",
        "seconds": 252.3,
        "changed_voxels": 1204,
        "labels": {"1": "right lung", "2": "left lung"},
    }
    assert {key: entry[key] for key in expected} == expected
    assert entry["grid"]["shape"] == [6, 8, 10]
    np.testing.assert_array_equal(entry["grid"]["affine_to_ras_mm"], one.image.affine)


def test_measurements_are_a_table(tmp_path: Path) -> None:
    export_corrections([item(nifti(tmp_path)), item(picture(tmp_path), 2)], tmp_path / "out", ".tif", with_images=False)
    with (tmp_path / "out" / "measurements.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["case"], row["name"], row["voxels"], row["unit"]) for row in rows] == [
        ("patient 7 case 1", "right lung", "54", "ml"),
        ("patient 7 case 1", "left lung", "54", "ml"),
        ("patient 7 case 2", "right lung", "9", "px"),
        ("patient 7 case 2", "left lung", "9", "px"),
    ]
    assert float(rows[0]["value"]) == pytest.approx(54 * 0.7 * 0.8 * 2.5 / 1000, rel=1e-2)


def test_a_plane_as_png(tmp_path: Path) -> None:
    one = item(picture(tmp_path))
    labels, *_ = export_corrections([one], tmp_path / "out", ".png", with_images=False)
    np.testing.assert_array_equal(np.asarray(Picture.open(labels)), one.labels)


def export_refused(items: list[ExportItem], folder: Path, suffix: str) -> str:
    with pytest.raises(MedSegError) as refusal:
        export_corrections(items, folder, suffix, with_images=True)
    return str(refusal.value)


def test_nothing_is_written_where_one_case_is_wrong(tmp_path: Path) -> None:
    good = item(nifti(tmp_path))
    swapped = replace(good, labels=swap_sides(good.labels, LUNGS))
    changed = replace(good, image=good.image.replace_pixels(good.image.pixels + 1))
    unknown = replace(good, labels=good.labels * 3)
    out = tmp_path / "out"
    before = sorted(tmp_path.rglob("*"))
    for items, suffix, text in (
        ([good, swapped], ".tif", "nothing was exported. patient 7 case 1: right lung and left lung are exchanged"),
        ([good, changed], ".tif", "its file changed since it was labelled"),
        ([good, unknown], ".tif", "the values 3, 6 are no labels"),
        ([replace(good, labels=good.labels[1:])], ".tif", "belong to another image"),
        ([good], ".png", "it is a volume, and PNG holds one plane"),
        ([good], ".jpg", "cannot be written as '.jpg'; choose one of"),
        ([], ".tif", "nothing is accepted yet"),
    ):
        assert text in export_refused(items, out, suffix)
        assert sorted(tmp_path.rglob("*")) == before, "neither a folder nor a part of a file"


def test_equal_names_do_not_overwrite_each_other(tmp_path: Path) -> None:
    for n in (1, 2):
        (tmp_path / str(n)).mkdir()
    items = [item(picture(tmp_path / str(n), "slice 1/a".replace("/", "_") + ".png", seed=n), n) for n in (1, 2)]
    paths = export_corrections(items, tmp_path / "out", ".tif", with_images=False)
    assert len({path.name for path in paths}) == 4
    assert all(path.exists() for path in paths)


def test_a_second_export_adds_to_the_first(tmp_path: Path) -> None:
    first, second = item(picture(tmp_path, "x_1.png", 1)), item(picture(tmp_path, "y_1.png", 2), 2)
    out = tmp_path / "out"
    export_corrections([first], out, ".tif", with_images=False)
    corrected = replace(first, labels=np.where(first.labels == 1, 0, first.labels))
    export_corrections([second, corrected], out, ".tif", with_images=False)
    entries = json.loads((out / "provenance.json").read_text(encoding="utf-8"))["cases"]
    assert sorted(entry["labels_file"] for entry in entries) == ["x_1_labels.tif", "y_1_labels.tif"]
    np.testing.assert_array_equal(formats.read_labels(out / "x_1_labels.tif", first.image), corrected.labels)
    other = item(picture(tmp_path, "x_1.png", 9), 3)
    names = [path.name for path in export_corrections([other], out, ".tif", with_images=False)]
    assert names[0] == f"x_1_{other.case.content_hash[:8]}_labels.tif"
    np.testing.assert_array_equal(formats.read_labels(out / "x_1_labels.tif"), corrected.labels)


def test_a_strangers_file_is_never_overwritten(tmp_path: Path) -> None:
    one = item(picture(tmp_path))
    (tmp_path / "case_1_labels.tif").write_text("mine")
    with pytest.raises(MedSegError, match="nothing is overwritten"):
        export_corrections([one], tmp_path, ".tif", with_images=False)
    assert (tmp_path / "case_1_labels.tif").read_text() == "mine"
    (tmp_path / "provenance.json").write_text("{}")
    with pytest.raises(MedSegError, match="not of an earlier export"):
        export_corrections([one], tmp_path, ".nii", with_images=False)


def test_names_are_those_of_the_files_and_safe(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    names = ["P7 scan (5 mm).png", "con.png", "-rf.png", "Mu\u0308ller.png", "MÜLLER.png", "a..png", "x" * 250 + ".png"]
    items = [item(picture(tmp_path / "in", name, seed=n), n) for n, name in enumerate(names)]
    paths = export_corrections(items, tmp_path / "out", ".tif", with_images=False)[: len(names)]
    assert [path.name for path in paths][:3] == ["P7 scan (5 mm)_labels.tif", "_con_labels.tif", "rf_labels.tif"]
    assert len({get_name_key(path.name) for path in paths}) == len(names)
    assert all(path.parent == tmp_path / "out" and len(path.name.encode()) <= 255 for path in paths)
    again = export_corrections(items, tmp_path / "out", ".tif", with_images=False)[: len(names)]
    assert again == paths, "a case keeps its name"
    content = json.loads((tmp_path / "out" / "provenance.json").read_text(encoding="utf-8"))
    assert len(content["cases"]) == len(names)
    assert "unfinished" not in content


def series(folder: Path, patient: str, number: int = 3) -> Image:
    write_series(folder, noise((3, 8, 10), seed=number), PatientID=patient, PatientName="Doe^Jane", SeriesNumber=number)
    return formats.read(folder)


@pytest.mark.parametrize("patient", ["../../../tmp/PAT77", "PAT77", "", "CON", "P\\77:*?"])
def test_a_dicom_series_is_named_by_a_label_not_by_its_patient(tmp_path: Path, patient: str) -> None:
    items = [item(series(tmp_path / "a", patient), 1), item(series(tmp_path / "b", patient, 4), 2)]
    out = tmp_path / "deep" / "out"
    paths = export_corrections(items, out, ".nii.gz", True, ImageNamer("stem", b"k"))
    assert {path.parent for path in paths} == {out}
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "deep"}
    written = b"".join(path.read_bytes() for path in out.iterdir()) + " ".join(p.name for p in out.iterdir()).encode()
    assert b"PAT77" not in written
    assert b"Doe" not in written
    names = [path.name.removesuffix("_labels.nii.gz") for path in (paths[0], paths[2])]
    assert names == ["patient-7_case-1", "patient-7_case-2"]
    with (out / "measurements.csv").open(encoding="utf-8", newline="") as file:
        assert {row["group"] for row in csv.DictReader(file)} == {items[0].case.group}
    asked = export_corrections(items, tmp_path / "asked", ".tif", False, ImageNamer("patient", b"k"))
    assert ("PAT77" in asked[0].name) == ("PAT77" in patient), "names of files on request"
    with (tmp_path / "asked" / "measurements.csv").open(encoding="utf-8", newline="") as file:
        assert not [row for row in csv.DictReader(file) if "PAT77" in row["case"] + row["group"]]


def test_an_export_names_no_file_and_no_patient_unless_it_is_asked_to(tmp_path: Path) -> None:
    items = [item(picture(tmp_path, "Doe Jane.png"), 3), item(nifti(tmp_path, "Doe_1.nii.gz"), 4)]
    paths = export.export_corrections(items, tmp_path / "out", ".tif", with_images=False)
    assert [path.name for path in paths[:2]] == ["patient-7_case-3_labels.tif", "patient-7_case-4_labels.tif"]
    entries = json.loads((tmp_path / "out" / "provenance.json").read_text(encoding="utf-8"))["cases"]
    assert [list(entry["source_files"][0]) for entry in entries] == [["sha256"]] * 2
    assert not [path for path in (tmp_path / "out").iterdir() if b"Doe" in path.read_bytes()]
    moved = replace(items[0], case=replace(items[0].case, group=make_keyed_group("patient", 9, "0" * 16)))
    again = export.export_corrections([moved], tmp_path / "out", ".tif", with_images=False)
    assert again[0] == paths[0], "a case keeps its name when its group is changed"


def test_a_patient_names_files_on_request_and_a_chosen_group_is_kept(tmp_path: Path) -> None:
    image = series(tmp_path / "a", "PAT/77")
    assert ImageNamer("patient", b"k").make_name(image).stem == "PAT_77_series-3"
    assert ImageNamer("stem", b"k").make_name(replace(image, group="knee 5")).stem == "knee 5_series-3"
    one = formats.read(image.sources[0])
    assert ImageNamer("stem", b"k").make_name(one).stem == image.sources[0].stem
    assert ImageNamer("group", b"k").make_name(one).stem.endswith("_series-3")
    gone = replace(image, sources=(tmp_path / "gone.dcm", tmp_path / "gone2.dcm"))
    assert "PAT" not in ImageNamer("stem", b"k").make_name(gone).stem
    with pytest.raises(MedSegError, match="cannot be named after 'uid'"):
        make_namer("uid", tmp_path)


def test_labels_of_two_tasks_of_one_image_are_two_files(tmp_path: Path) -> None:
    one = item(nifti(tmp_path))
    export_corrections([one], tmp_path / "out", ".tif", with_images=False)
    lesions = get_task("covid")
    other = replace(one, case=replace(one.case, id=2, task="covid"), task=lesions, labels=one.labels * 0)
    export_corrections([other], tmp_path / "out", ".tif", with_images=False)
    assert formats.read_labels(tmp_path / "out" / "scan_labels.tif").max() == 2
    assert formats.read_labels(tmp_path / "out" / "scan_covid_labels.tif").max() == 0


class Interrupted(BaseException):
    """As Ctrl-C or a power failure."""


@pytest.mark.parametrize("at", [1, 2, 3])
def test_an_interrupted_export_can_be_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    items = [item(picture(tmp_path, f"x{n}.png", n), n) for n in range(2)]
    out = tmp_path / "out"
    replacing, calls = os.replace, []

    def replace_or_stop(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) > at:
            raise Interrupted
        replacing(source, target)

    monkeypatch.setattr(os, "replace", replace_or_stop)
    with pytest.raises(Interrupted):
        export_corrections(items, out, ".tif", with_images=True)
    monkeypatch.undo()
    (out / ".writing-0123abcd-x0_labels.tif").touch()  # what a killed process leaves
    changed = replace(items[0], labels=np.where(items[0].labels == 1, 0, items[0].labels))
    paths = export_corrections([changed, items[1]], out, ".tif", with_images=True)
    assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in paths)
    content = json.loads((out / "provenance.json").read_text(encoding="utf-8"))
    assert [entry["labels_file"] for entry in content["cases"]] == ["x0_labels.tif", "x1_labels.tif"]
    assert "unfinished" not in content


def read_folder(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("suffix", [".tif", ".nii.gz", ".png"])
@pytest.mark.parametrize("has_earlier", [False, True])
def test_a_cancelled_export_leaves_whole_cases_only(tmp_path: Path, suffix: str, has_earlier: bool) -> None:
    items = [item(picture(tmp_path, f"x{n}.png", n), n) for n in range(2)]
    new = [replace(each, labels=np.where(each.labels == 1, 0, each.labels)) for each in items]
    export_corrections(items, tmp_path / "before", suffix, with_images=True)
    export_corrections(new, tmp_path / "after", suffix, with_images=True)
    before, after = read_folder(tmp_path / "before"), read_folder(tmp_path / "after")
    n_complete = []
    for limit in range(100):
        out, asked = tmp_path / f"out-{limit}", []
        if has_earlier:
            export_corrections(items, out, suffix, with_images=True)

        def is_cancelled(asked: list[int] = asked, limit: int = limit) -> bool:
            asked.append(1)
            return len(asked) > limit

        try:
            export_corrections(new, out, suffix, with_images=True, is_cancelled=is_cancelled)
        except ExportCancelled as error:
            text = str(error)
        else:
            break
        found = read_folder(out) if out.exists() else {}
        complete = [n for n in range(2) if f"x{n}" in text]
        n_complete.append(len(complete))
        listed = complete if not has_earlier else [0, 1]
        kinds = [f"_{kind}{suffix}" for kind in ("labels", "image")]
        wanted = {f"x{n}{kind}": (after if n in complete else before)[f"x{n}{kind}"] for n in listed for kind in kinds}
        assert {name: found[name] for name in found if name.startswith("x")} == wanted
        assert found.keys() - wanted.keys() == ({"provenance.json", "measurements.csv"} if listed else set())
        if listed:
            content = json.loads(found["provenance.json"])
            assert sorted(entry["stem"] for entry in content["cases"]) == [f"x{n}" for n in listed]
            assert "unfinished" not in content
        export_corrections(new, out, suffix, with_images=True)
        assert {name: data for name, data in read_folder(out).items() if name != "provenance.json"} == {
            name: data for name, data in after.items() if name != "provenance.json"
        }
    assert n_complete == sorted(n_complete)
    assert set(n_complete) == {0, 1}


def test_a_cancelled_export_reads_no_further_image(tmp_path: Path) -> None:
    ws = SimpleNamespace(project=SimpleNamespace(folder=tmp_path))
    with pytest.raises(ExportCancelled, match="before anything was written"):
        export.read_export_items(ws, [(None, None, "")], lambda: True)


def test_an_error_of_a_file_names_it_and_leaves_no_part_of_the_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_disk(path: Path, _image: Image) -> None:
        raise MedSegError(f"cannot write {path}: the disk is full")

    monkeypatch.setattr(formats, "write_image", fill_disk)
    with pytest.raises(MedSegError, match=r"cannot write .*out.x0_image\.tif: the disk is full"):
        export_corrections([item(picture(tmp_path, "x0.png"))], tmp_path / "out", ".tif", with_images=True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["provenance.json"]


def test_an_interrupted_export_of_an_older_version_can_be_repeated(tmp_path: Path) -> None:
    one = item(picture(tmp_path))
    paths = export_corrections([one], tmp_path / "out", ".tif", with_images=True)
    (tmp_path / "out" / "provenance.json").unlink()
    assert export_corrections([one], tmp_path / "out", ".tif", with_images=True) == paths
    (tmp_path / "out" / "provenance.json").unlink()
    with pytest.raises(MedSegError, match="was not made by an export"):
        export_corrections([replace(one, labels=one.labels[::-1])], tmp_path / "out", ".tif", with_images=True)


def test_a_tilted_series_is_told_and_straightened_on_request(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", noise((4, 8, 10)), step=(0, 0.8, 2.5))
    one = item(formats.read(tmp_path / "ct"))
    seen = np.ones(one.labels.shape, bool)
    seen[0] = False
    one = replace(one, reviewed_mask=seen, roi=one.labels.copy())
    for folder, straighten, said in (("as it is", False, "use the qform"), ("up", True, "moved by whole pixels")):
        export_corrections([one], tmp_path / folder, ".nii.gz", True, straighten=straighten)
        (entry,) = json.loads((tmp_path / folder / "provenance.json").read_text(encoding="utf-8"))["cases"]
        assert said in entry["grid"]["remarks"][0]
        image, mask, reviewed = (
            sitk.ReadImage(str(tmp_path / folder / entry[kind]))
            for kind in ("image_file", "labels_file", "reviewed_file")
        )
        assert image.GetSize() == mask.GetSize() == reviewed.GetSize()
        assert (sitk.GetArrayFromImage(mask) > 0).sum() == (one.labels > 0).sum()
        assert (sitk.GetArrayFromImage(reviewed) > 0).sum() == seen.sum()
        assert entry["measurements"][0]["voxels"] == (one.labels == 1).sum()


def test_the_provenance_says_how_a_turned_photograph_lies(tmp_path: Path) -> None:
    exif = Picture.Exif()
    exif[0x0112] = 6
    Picture.fromarray(np.random.default_rng(0).integers(0, 255, (10, 8)).astype(np.uint8)).save(
        tmp_path / "photo.jpg", exif=exif
    )
    for suffix, tag in ((".png", "has the same tag"), (".tif", "has no such tag")):
        export_corrections([item(formats.read(tmp_path / "photo.jpg"))], tmp_path / suffix, suffix, with_images=False)
        (entry,) = json.loads((tmp_path / suffix / "provenance.json").read_text(encoding="utf-8"))["cases"]
        assert "EXIF Orientation 6" in entry["grid"]["remarks"][0]
        assert tag in entry["grid"]["remarks"][0]


def test_a_source_that_is_gone_is_told_by_a_missing_hash(tmp_path: Path) -> None:
    one = item(picture(tmp_path))
    one.image.sources[0].unlink()
    export_corrections([one], tmp_path / "out", ".tif", with_images=False)
    (entry,) = json.loads((tmp_path / "out" / "provenance.json").read_text(encoding="utf-8"))["cases"]
    assert entry["source_files"] == [{"name": "case_1.png", "sha256": None}]


def test_what_was_reviewed_is_written_beside_the_labels(tmp_path: Path) -> None:
    whole = item(nifti(tmp_path))
    seen = np.zeros(whole.labels.shape, bool)
    seen[2, :4] = True
    out = tmp_path / "out"
    paths = export_corrections([replace(whole, reviewed_mask=seen)], out, ".nii.gz", with_images=False)
    assert "scan_reviewed.nii.gz" in [path.name for path in paths]
    mask = formats.read_labels(out / "scan_reviewed.nii.gz", whole.image)
    np.testing.assert_array_equal(mask > 0, seen)
    np.testing.assert_array_equal(formats.read_labels(out / "scan_labels.nii.gz", whole.image), whole.labels)
    (entry,) = json.loads((out / "provenance.json").read_text())["cases"]
    assert entry["reviewed_file"] == "scan_reviewed.nii.gz"
    assert entry["reviewed_share"] == pytest.approx(seen.mean(), abs=1e-5)
    with (out / "measurements.csv").open(encoding="utf-8", newline="") as file:
        assert {float(row["reviewed_share"]) for row in csv.DictReader(file)} == {entry["reviewed_share"]}

    export_corrections([whole], out, ".nii.gz", with_images=False)
    (entry,) = json.loads((out / "provenance.json").read_text())["cases"]
    assert (entry["reviewed_file"], entry["reviewed_share"]) == (None, 1.0)
    assert not (out / "scan_reviewed.nii.gz").exists()


def test_a_foreign_file_is_not_taken_for_what_was_reviewed(tmp_path: Path) -> None:
    whole = item(nifti(tmp_path))
    out = tmp_path / "out"
    out.mkdir()
    (out / "scan_reviewed.nii.gz").write_bytes(b"mine")
    export_corrections([whole], out, ".nii.gz", with_images=False)
    with pytest.raises(MedSegError, match="was not made by an export"):
        export_corrections([replace(whole, reviewed_mask=whole.labels > 0)], out, ".nii.gz", with_images=False)
    assert (out / "scan_reviewed.nii.gz").read_bytes() == b"mine"


@pytest.mark.parametrize(
    "change",
    [
        {"measurements": None},
        {"measurements": [3]},
        {"labels_file": "../a.tif"},
        {"reviewed_file": "/etc/hostname"},
        {"image_file": "a\0.tif"},
        {"reviewed_file": "..\\a.tif"},
        {"stem": ["a"]},
        {"stem": "../a"},
        {"stem": "a\0"},
        {"task": 3},
    ],
)
def test_damaged_entries_are_left_out_or_refused_and_no_file_outside_is_touched(
    tmp_path: Path, change: dict[str, object]
) -> None:
    image = Image(noise((12, 16), 0).astype(np.uint8), "YX", (1.0, 1.0), name="a")
    (tmp_path / "a.tif").write_bytes(b"of another program")
    out = tmp_path / "out"
    export_corrections([item(image)], out, ".tif", False)
    content = json.loads((out / "provenance.json").read_text())
    content["cases"][0] |= change
    (out / "provenance.json").write_text(json.dumps(content))
    other = item(replace(image, name="b", pixels=image.pixels[::-1].copy()), 2)
    try:
        export_corrections([other], out, ".tif", False)
    except MedSegError as error:
        text = str(error)
    else:
        text = ""
    assert text == "" or "is not of an earlier export" in text
    assert bool(text) is ("measurements" not in change)
    assert (tmp_path / "a.tif").read_bytes() == b"of another program"
