"""Every test file of pydicom is read or refused; labels come back in all 48 orders of a volume's axes."""

import itertools
import resource
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from format_families import PYDICOM_FILES
from nibabel.orientations import apply_orientation, inv_ornt_aff
from test_disks import open_workspace
from workflow_phantoms import write_version

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.workflow.cases import add_cases
from napari_medseg.workflow.output.export import export_corrections, list_accepted_rows, read_export_items
from napari_medseg.workflow.output.image_names import ImageNamer
from napari_medseg.workflow.review import accept, open_review

DICOM = sorted(path for path in PYDICOM_FILES.rglob("*") if path.is_file() and path.suffix != ".md")
LONGEST_S, MAX_MIB = 10.0, 1024
ORDERS = list(itertools.product(itertools.permutations(range(3)), itertools.product([1, -1], repeat=3)))


def test_every_dicom_file_is_read_or_refused_with_a_reason() -> None:
    assert len(DICOM) > 60
    read = []
    for path in DICOM:
        began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        reason = ""
        try:
            assert formats.read(path).pixels.size, path
            read.append(path.name)
        except MedSegError as error:
            reason = str(error)
        assert path.name in read or len(reason) > 40, path
        assert time.monotonic() - began < LONGEST_S, path
        assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10 < MAX_MIB, path
    assert len(read) > 30, "most of them are images"
    assert "CT_small.dcm" in read


def test_labels_of_a_volume_come_back_in_all_48_orders(tmp_path: Path) -> None:
    """From the file through the project to the export, compared by nibabel in the patient's space."""
    write_version(tmp_path / "bundled" / "lungs-unet" / "1")
    ws = open_workspace(tmp_path)
    affine, shape = np.diag([0.7, 0.8, 2.5, 1.0]), (6, 7, 8)
    marked = np.zeros(shape, np.uint8)  # in RAS, x grows to the patient's right
    marked[4:6, 2:5, 3], marked[1:3, 2:4, 5] = 1, 2
    expected = {}
    for number, (axes, signs) in enumerate(ORDERS):
        order = np.array([[axis, sign] for axis, sign in zip(axes, signs, strict=True)], float)
        data = np.random.default_rng(number).integers(-1000, 1000, shape).astype(np.int16)
        path = tmp_path / f"order{number:02d}.nii"
        stored = np.ascontiguousarray(apply_orientation(data, order))
        nib.save(nib.Nifti1Image(stored, affine @ inv_ornt_aff(order, shape)), path)
        image = formats.read(path)
        (case,) = add_cases(ws, [image], "lungs", force=True)
        draft = open_review(ws, case, None)
        labels = marked.transpose(2, 1, 0)[:, ::-1, ::-1]
        places = np.flatnonzero(labels)
        draft.record(places, 0, labels.ravel()[places])
        accept(ws, draft, draft.labels, image)
        expected[path.stem] = path
    items = read_export_items(ws, list_accepted_rows(ws, "lungs"))
    by_file = ImageNamer("stem", b"k")
    paths = export_corrections(items, tmp_path / "out", ".nii.gz", False, by_file)
    written = [path for path in paths if ".nii" in path.name]
    assert len(written) == len(ORDERS) == 48
    for path in written:
        found = nib.load(path)
        source = nib.load(expected[path.name[:7]])
        assert found.affine.tobytes() == source.affine.tobytes()
        np.testing.assert_array_equal(nib.as_closest_canonical(found).dataobj, marked)
    ws.close()


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_RLE.dcm"])
def test_the_intact_files_of_the_damage_are_images(name: str) -> None:
    assert formats.read(PYDICOM_FILES / name).pixels.size
