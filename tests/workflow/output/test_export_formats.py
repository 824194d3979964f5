"""Export in the formats of other programs: every format writes, is read back, and writes the same bytes twice."""

import json
from pathlib import Path

import numpy as np
import pytest
from dicom_files import noise, write_series
from PIL import Image as Picture
from test_export import item
from written_labels import TILTED

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.label_files.registry import LABEL_FORMATS
from napari_medseg.workflow.output.export import export_corrections


def read_folder(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "provenance.json"}


@pytest.mark.parametrize("name", LABEL_FORMATS)
def test_every_format_is_exported_with_its_provenance(tmp_path: Path, name: str) -> None:
    wanted = LABEL_FORMATS[name]
    if wanted.names_patient:
        pytest.importorskip("highdicom")
    if wanted.planes_only:
        Picture.fromarray(noise((9, 12)).astype(np.uint8)).save(tmp_path / "a.png")
        image = formats.read(tmp_path / "a.png")
    else:
        write_series(tmp_path / "s", noise((4, 9, 12)), FrameOfReferenceUID="1.2.9")
        image = formats.read(tmp_path / "s")
    case = item(image)
    out = tmp_path / "out"
    paths = export_corrections([case], out, name, True)
    assert paths[0].name.endswith(f"_labels{wanted.suffix}")
    assert paths[1].name.endswith(f"_image{wanted.choose_image_suffix(image)}")
    np.testing.assert_array_equal(formats.read(paths[1]).pixels, image.pixels)
    (entry,) = json.loads((out / "provenance.json").read_text())["cases"]
    said = " ".join(entry["grid"]["remarks"])
    assert ("the patient and study" in said) == wanted.names_patient
    first = read_folder(out)
    export_corrections([case], out, name, True)
    assert read_folder(out) == first


def test_formats_of_planes_refuse_a_volume_before_anything_is_written(tmp_path: Path) -> None:
    write_series(tmp_path / "s", noise((4, 9, 12)))
    case = item(formats.read(tmp_path / "s"))
    for name in ("png", "png-palette", "coco", "geojson"):
        with pytest.raises(MedSegError, match="is a volume"):
            export_corrections([case], tmp_path / "out", name, False)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["dicom-seg", "rtstruct", "seg.nrrd"])
def test_a_tilted_series_is_told_and_only_moved_where_that_is_possible(tmp_path: Path, name: str) -> None:
    pytest.importorskip("highdicom")
    write_series(tmp_path / "s", noise((4, 9, 12)), step=TILTED, FrameOfReferenceUID="1.2.9")
    case = item(formats.read(tmp_path / "s"))
    for straighten in (False, True):
        out = tmp_path / f"out {straighten}"
        export_corrections([case], out, name, False, straighten=straighten)
        (entry,) = json.loads((out / "provenance.json").read_text())["cases"]
        is_moved = straighten and name == "seg.nrrd"
        assert (entry["grid"]["shape"] == [4, 9, 12]) != is_moved
        assert ("were moved" in " ".join(entry["grid"]["remarks"])) == is_moved
        assert "gantry tilt" in entry["grid"]["remarks"][0]
