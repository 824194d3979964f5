"""The reader and writer that napari calls, with real files and the dock closed."""

import json
from pathlib import Path

import numpy as np
import pytest
from napari._app_model.constants._menus import is_menu_contributable
from napari.components import ViewerModel
from napari.layers import Labels
from npe2 import PluginManager, PluginManifest
from plugin_phantoms import Texts, phantom_labels, write_phantom

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.label_files.registry import LABEL_FORMATS
from napari_medseg.plugin import layers, reader_writer
from napari_medseg.plugin.sample_data import SAMPLES

CT = sorted((SAMPLES / "ct_a0001" / "dicom").glob("*.dcm"))


def test_a_dicom_slice_becomes_a_layer_with_its_geometry() -> None:
    ((data, arguments, kind),) = reader_writer.get_reader(str(CT[5]))(str(CT[5]))
    assert kind == "image"
    assert data.shape == (512, 512)
    assert arguments["units"] == ("mm", "mm")
    assert arguments["contrast_limits"] == (-1350.0, 150.0)
    assert ViewerModel().add_image(data, **arguments).metadata["medseg"]["image"].modality == "CT"


def test_a_stack_of_slices_and_a_folder_are_one_volume() -> None:
    paths = [str(path) for path in CT[:4]]
    ((data, arguments, _),) = reader_writer.get_reader(paths)(paths)
    assert data.shape == (4, 512, 512)
    assert len(arguments["scale"]) == 3
    ((data, _, _),) = reader_writer.get_reader(str(CT[0].parent))(str(CT[0].parent))
    assert data.shape[0] == len(CT)


def test_a_folder_of_several_images_gives_them_one_by_one(tmp_path: Path) -> None:
    for number in range(3):
        write_phantom(tmp_path, number)
    read = reader_writer.get_reader(str(tmp_path))(str(tmp_path))
    assert [arguments["name"] for _, arguments, _ in read] == ["case0", "case1", "case2"]


def test_what_is_no_image_of_ours_is_left_to_others(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("a,b")
    assert reader_writer.get_reader(str(tmp_path / "table.csv")) is None
    assert reader_writer.get_reader([]) is None


def test_a_folder_loses_nothing_for_one_refused_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: Texts
) -> None:
    for number in range(3):
        write_phantom(tmp_path, number)
    (tmp_path / "broken.dcm").write_bytes(CT[0].read_bytes()[:2000])
    (tmp_path / "empty.png").touch()
    (tmp_path / "gone.tif").symlink_to(tmp_path / "nowhere.tif")
    monkeypatch.setattr(reader_writer, "current_viewer", lambda: ViewerModel())
    read = reader_writer.get_reader(str(tmp_path))(str(tmp_path))
    assert [arguments["name"] for _, arguments, _ in read] == ["case0", "case1", "case2"]
    (text,) = told
    assert text.startswith("3 of 6 images cannot be opened:")
    assert all(name in text for name in ("broken.dcm", "empty.png", "gone.tif"))


def test_a_missing_file_in_a_stack_costs_no_other(tmp_path: Path, told: Texts) -> None:
    paths = [str(write_phantom(tmp_path, 1)), str(tmp_path / "gone")]
    ((_, arguments, _),) = reader_writer.get_reader(paths)(paths)
    assert arguments["name"] == "case1"
    assert "gone does not exist" in told


def test_folders_of_other_plugins_stay_theirs(tmp_path: Path) -> None:
    (tmp_path / "cells.zarr" / "0").mkdir(parents=True)
    (tmp_path / "cells.zarr" / ".zgroup").write_text("{}")
    (tmp_path / "cells.zarr" / "0" / "0.0").write_bytes(bytes(100))
    assert reader_writer.get_reader(str(tmp_path / "cells.zarr")) is None
    (tmp_path / "texts").mkdir()
    assert reader_writer.get_reader(str(tmp_path / "texts")) is None
    (tmp_path / "texts" / "notes.txt").write_text("no image")
    assert reader_writer.get_reader(str(tmp_path / "texts")) is None


def test_an_unusable_file_is_an_error_in_a_script_and_one_message_in_a_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: Texts
) -> None:
    path = tmp_path / "truncated.dcm"
    path.write_bytes(CT[0].read_bytes()[:2000])
    with pytest.raises(MedSegError, match=r"truncated\.dcm"):
        reader_writer.get_reader(str(path))(str(path))
    monkeypatch.setattr(reader_writer, "current_viewer", lambda: ViewerModel())
    assert reader_writer.get_reader(str(path))(str(path)) == [(None,)]
    assert len(list(told)) == 1
    assert "truncated.dcm" in told


@pytest.mark.parametrize("suffix", [".tif", ".nii.gz", ".png"])
def test_saving_labels_goes_through_our_writer_and_reads_back(tmp_path: Path, suffix: str) -> None:
    image = formats.read(write_phantom(tmp_path, 1))
    layer = Labels(phantom_labels(), metadata={layers.METADATA_KEY: {"image": image}}, name="lungs: case1 (draft)")
    data, meta, _ = layer.as_layer_data_tuple()
    (written,) = reader_writer.write_labels(str(tmp_path / f"saved{suffix}"), data, meta)
    assert np.array_equal(formats.read_labels(Path(written), image), phantom_labels())


@pytest.mark.parametrize("suffix", [".seg.nrrd", ".mha", ".ome.tif", ".palette.png"])
def test_other_formats_are_saved_with_the_same_pixels(tmp_path: Path, suffix: str) -> None:
    image = formats.read(write_phantom(tmp_path, 1))
    layer = Labels(phantom_labels(), metadata={layers.METADATA_KEY: {"image": image}}, name="lungs")
    data, meta, _ = layer.as_layer_data_tuple()
    (written,) = reader_writer.write_labels(str(tmp_path / f"saved{suffix}"), data, meta)
    assert np.array_equal(formats.read_labels(Path(written), image), phantom_labels())


@pytest.mark.parametrize(("name", "key"), [("a.json", "annotations"), ("a.geojson", "features")])
def test_outlines_are_saved_for_other_programs(tmp_path: Path, name: str, key: str) -> None:
    data, meta, _ = Labels(phantom_labels()).as_layer_data_tuple()
    (written,) = reader_writer.write_labels(str(tmp_path / name), data, meta)
    assert len(json.loads(Path(written).read_text())[key]) == 2


def test_saving_dicom_says_that_it_names_the_patient(tmp_path: Path, told: Texts) -> None:
    pytest.importorskip("highdicom")
    image = formats.read(CT[0])
    arguments = {"metadata": reader_writer.make_layer_data(image)[1]["metadata"], "name": "labels"}
    reader_writer.write_labels(str(tmp_path / "a.dcm"), np.ones(image.spatial_shape, np.uint8), arguments)
    assert "a.dcm holds name and ID of the patient" in " ".join(map(str, told))
    before = len(told)
    reader_writer.write_labels(str(tmp_path / "a.nii.gz"), np.ones(image.spatial_shape, np.uint8), arguments)
    assert len(told) == before


def test_the_manifest_offers_every_format_and_a_wrong_one_lists_them(tmp_path: Path) -> None:
    manifest = PluginManifest.from_file(Path(layers.__file__).parents[1] / "napari.yaml")
    (writer,) = manifest.contributions.writers
    for one in LABEL_FORMATS.values():
        assert any(one.suffix.endswith(end) for end in writer.filename_extensions), one.name
    data, meta, _ = Labels(phantom_labels()).as_layer_data_tuple()
    with pytest.raises(MedSegError, match=r"geojson.*seg.nrrd"):
        reader_writer.write_labels(str(tmp_path / "a.bmp"), data, meta)


def test_labels_without_an_image_of_ours_keep_their_millimetres(tmp_path: Path) -> None:
    layer = Labels(phantom_labels(), scale=(0.5, 0.25), units=("mm", "mm"))
    data, meta, _ = layer.as_layer_data_tuple()
    (written,) = reader_writer.write_labels(str(tmp_path / "saved.tif"), data, meta)
    assert formats.read(Path(written)).spacing_mm == pytest.approx((0.5, 0.25))
    with pytest.raises(MedSegError, match="4 dimensions"):
        reader_writer.write_labels(str(tmp_path / "x.tif"), np.zeros((1, 1, 2, 2), int), {})


def test_the_manifest_offers_reader_writer_samples_and_the_dock() -> None:
    manager = PluginManager()
    manifest = PluginManifest.from_file(Path(layers.__file__).parents[1] / "napari.yaml")
    manager.register(manifest)
    for name in (str(CT[0]), "slide.svs", "SLIDE.SVS", "a.tif", "a.nii.gz", "big.btf"):
        readers = {reader.command for reader in manager.iter_compatible_readers(name)}
        assert "napari-medseg.read" in readers
    writers = [writer.command for writer in manager.iter_compatible_writers(["labels"])]
    assert "napari-medseg.write_labels" in writers
    assert [widget.display_name for widget in manifest.contributions.widgets] == ["MedSeg"]
    assert len(manifest.contributions.sample_data) == 6
    assert [menu for menu in manifest.contributions.menus if is_menu_contributable(menu)] == [
        "napari/file/io_utilities",
        "napari/layers/segment",
    ]
