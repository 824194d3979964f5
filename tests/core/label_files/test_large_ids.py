"""Object numbers beyond 16 bits survive in every format of labels, or are refused with the reason."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import write_slice
from written_labels import NUCLEI

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.label_files.registry import LABEL_FORMATS
from napari_medseg.workflow.output.label_output import write_and_read_back

LARGE = (1, 255, 256, 65_535, 65_536, 70_279, 2**24 + 1, 2**31, 2**32 - 2)
REFUSED = {"png": "16 bits|65,?535", "png-palette": "255 colours"}
"""What the refusal of a format names; a new format has to hold the numbers, or to be listed here."""


@pytest.fixture(scope="module")
def dicom_slice(tmp_path_factory: Any) -> Image:
    folder = tmp_path_factory.mktemp("slice")
    write_slice(folder / "slice.dcm", np.zeros((265, 266), np.int16), (0, 0, 0), FrameOfReferenceUID="1.2.9")
    return formats.read(folder / "slice.dcm")


@pytest.mark.parametrize("kind", sorted(LABEL_FORMATS))
def test_large_numbers_survive_or_are_refused(tmp_path: Path, kind: str, dicom_slice: Image) -> None:
    if kind == "dicom-seg":
        pytest.importorskip("highdicom")
    labels, wanted = np.zeros(dicom_slice.spatial_shape, np.uint32), LABEL_FORMATS[kind]
    labels[3:6, 2 : 2 + 3 * len(LARGE)] = np.repeat(np.array(LARGE, np.uint32), 3)
    path = tmp_path / f"l{wanted.suffix}"
    if kind in REFUSED:
        with pytest.raises(MedSegError, match=REFUSED[kind]):
            wanted.write(path, labels, dicom_slice, NUCLEI)
        assert not list(tmp_path.iterdir())
        return
    write_and_read_back(path, labels, dicom_slice, wanted, NUCLEI)
    if wanted.read_back is None:  # what read-back numbers again holds the numbers all the same
        content = json.loads(path.read_text())
        told = [one["object"] for one in content.get("annotations", [])]
        told += [int(one["properties"]["name"]) for one in content.get("features", [])]
        assert sorted(told) == list(LARGE)


@pytest.mark.parametrize("kind", ["dicom-seg", "rtstruct"])
def test_a_dicom_object_of_70_279_objects_is_refused_with_the_limit(
    tmp_path: Path, kind: str, dicom_slice: Image
) -> None:
    if kind == "dicom-seg":
        pytest.importorskip("highdicom")
    labels = np.arange(265 * 266, dtype=np.uint32).clip(0, 70_279).reshape(265, 266)
    with pytest.raises(MedSegError, match=r"has 70,279 objects.*65,535.*Choose"):
        LABEL_FORMATS[kind].write(tmp_path / "l.dcm", labels, dicom_slice, NUCLEI)
