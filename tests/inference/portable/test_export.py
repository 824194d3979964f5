"""An exported model predicts the labels of this program without importing it."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle.utils import DEFAULT_METADATA

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.model_card import Architecture, ModelCard, PostprocessingStep, Preprocessing
from napari_medseg.core.model_registry import BUNDLED_MODELS, ModelRegistry
from napari_medseg.inference.portable import export, onnx_file
from napari_medseg.inference.portable.export import export_version
from napari_medseg.inference.portable.monai_bundle import (
    INFERENCE_FILE,
    METADATA_FILE,
    export_bundle,
    make_metadata,
)
from napari_medseg.inference.portable.onnx_file import has_onnx, write_onnx
from napari_medseg.inference.predictor import Predictor
from napari_medseg.networks import build_network, load_version, save_version
from napari_medseg.plugin.synthetic_lesions import draw_lesions

SAMPLE = BUNDLED_MODELS.parent / "samples" / "ct_a0001" / "dicom"
LUNGS_NETWORK = Architecture(name="unet", encoder="resnet18", in_channels=1, classes=3, options={})
REQUIRED_METADATA = {
    "schema": str,
    "version": str,
    "changelog": dict,
    "monai_version": str,
    "pytorch_version": str,
    "numpy_version": str,
    "required_packages_version": dict,
    "task": str,
    "description": str,
    "authors": str,
    "copyright": str,
    "network_data_format": dict,
}
"""Of MONAI's schema of 2024-07-25, which verify_metadata downloads."""
MAX_DIFFERENT = 1e-4
"""Share of pixels: fused layers round otherwise, and an edge between two labels may be equally likely."""
RUN = """
import sys
sys.path.insert(0, {folder!r})
import predict, numpy as np
from steps.plain import read_image
from pathlib import Path
np.save({out!r}, predict.predict(read_image(Path({image!r}), {is_hu!r}, {spacing!r})))
assert not [name for name in sys.modules if name.partition(".")[0] in ("napari_medseg", "training", "napari", "monai")]
"""


@pytest.fixture(autouse=True)
def _fp32_on_every_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exported script computes in fp32, so this program has to, also on a CPU that has bf16."""
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE")


def run_exported(folder: Path, image: Image, tmp_path: Path) -> np.ndarray:
    """Predict in a process of its own."""
    np.save(tmp_path / "image.npy", image.pixels)
    text = RUN.format(
        folder=str(folder),
        out=str(tmp_path / "labels.npy"),
        image=str(tmp_path / "image.npy"),
        is_hu=image.units == "HU",
        spacing=list(image.spacing_mm) if image.spacing_mm else None,
    )
    done = subprocess.run([sys.executable, "-P", "-c", text], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    return np.load(tmp_path / "labels.npy")


def run_here(folder: Path, image: Image, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Predict in this process, which has loaded torch already."""
    monkeypatch.syspath_prepend(folder)
    try:
        predict, plain = importlib.import_module("predict"), importlib.import_module("steps.plain")
        asked = plain.Image(image.pixels, image.axes, image.spacing_mm, image.units)
        labels: np.ndarray = predict.predict(asked)
        return labels
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] in ("predict", "steps")]:
            del sys.modules[name]


def small_version(folder: Path, **changes: object) -> ModelCard:
    torch.manual_seed(1)
    architecture = Architecture(name="unet", encoder="resnet18", in_channels=3, classes=4, options={})
    card = ModelCard(
        name="cells-unet",
        version=1,
        task="nuclei",
        architecture=architecture,
        preprocessing=Preprocessing(min_side_px=64, max_side_px=64, steps=["clahe"]),
    ).model_copy(update=changes)
    return save_version(build_network(card.architecture), card, folder)


def test_the_bundled_lesions_are_those_of_this_program_with_their_region_of_interest(tmp_path: Path) -> None:
    models = ModelRegistry(tmp_path / "registry", BUNDLED_MODELS)
    card = models.get_live_card("covid")
    roi_card, roi_folder = models.find_roi_model(card), models.find_roi_folder(card)
    assert roi_card is not None
    assert roi_folder is not None
    folder = models.get_folder(card.id)
    exported = export_version(folder, card, (roi_folder, roi_card), tmp_path / "out", with_onnx=False)
    assert {"predict.py", "card.json", "model.safetensors", "roi/model.safetensors", "steps/preprocess.py"} <= set(
        exported.files
    )
    script = (tmp_path / "out" / "predict.py").read_text()
    body = script[script.index("def predict") : script.index("if __name__")]
    assert len(body.splitlines()) <= 30
    path = sorted(SAMPLE.glob("*.dcm"))[8]
    whole = formats.read(path)
    lungs = formats.read_labels((SAMPLE.parent / "labels" / path.name).with_suffix(".tif"), whole)
    image, _ = draw_lesions(whole, lungs)
    found = run_exported(tmp_path / "out", image, tmp_path)
    expected = Predictor.load(folder, "cpu", roi_folder).predict_labels(image)
    assert expected.any()
    assert found.shape == expected.shape
    assert (found != expected).mean() <= MAX_DIFFERENT


def test_objects_in_colours_are_those_of_this_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = ModelRegistry(tmp_path / "registry", BUNDLED_MODELS)
    card = models.get_live_card("nuclei")
    folder = models.get_folder(card.id)
    export_version(folder, card, None, tmp_path / "out", with_onnx=False)
    image = formats.read(sorted((BUNDLED_MODELS.parent / "samples" / "nuclei_dsb").rglob("*.png"))[0])
    expected = Predictor.load(folder, "cpu").predict_labels(image)
    found = run_here(tmp_path / "out", image, monkeypatch)
    assert expected.max() > 3
    assert ((found > 0) != (expected > 0)).mean() <= MAX_DIFFERENT
    assert found.max() == expected.max()


def test_preprocessing_and_postprocessing_steps_are_those_of_the_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = [PostprocessingStep(name="fill_holes", options={"max_area_mm2": 9.0})]
    card = small_version(tmp_path / "version", postprocessing=steps)
    export_version(tmp_path / "version", card, None, tmp_path / "out", with_onnx=False)
    pixels = np.random.default_rng(2).integers(0, 255, (50, 70, 3), np.uint8)
    image = Image(pixels, "YXC", units="rgb")
    expected = Predictor.load(tmp_path / "version", "cpu").predict_labels(image)
    found = run_here(tmp_path / "out", image, monkeypatch)
    assert (found != expected).mean() <= 10 * MAX_DIFFERENT  # random weights: labels are nearly equally likely
    with pytest.raises(MedSegError, match="holds files already"):
        export_version(tmp_path / "version", card, None, tmp_path / "out", with_onnx=False)


def test_no_copied_file_imports_this_program(tmp_path: Path) -> None:
    card = small_version(tmp_path / "version")
    exported = export_version(tmp_path / "version", card, None, tmp_path / "out", with_onnx=False)
    for name in exported.files:
        if name.endswith(".py"):
            lines = (tmp_path / "out" / name).read_text("utf-8").splitlines()
            assert not [line for line in lines if "import" in line and "napari_medseg" in line]


@pytest.mark.skipif(not has_onnx(), reason="needs napari-medseg[onnx]; the extra [test] has it")
def test_onnx_has_the_same_labels(tmp_path: Path) -> None:
    small_version(tmp_path / "version")
    network, card = load_version(tmp_path / "version")
    assert write_onnx(network, card, tmp_path / "m.onnx") < 1e-3


def test_without_its_packages_onnx_is_left_out_with_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = small_version(tmp_path / "version")
    for module in (onnx_file, export):
        monkeypatch.setattr(module, "has_onnx", lambda: False)
    exported = export_version(tmp_path / "version", card, None, tmp_path / "out", with_onnx=True)
    assert "model.onnx" not in exported.files
    assert 'pip install "napari-medseg[onnx]"' in " ".join(exported.remarks)
    with pytest.raises(MedSegError, match=r"pip install .*\[onnx\]"):
        write_onnx(load_version(tmp_path / "version")[0], card, tmp_path / "m.onnx")


def test_a_monai_bundle_is_run_by_monai_and_gives_the_same_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from monai.bundle import ConfigParser, run, verify_net_in_out

    card = small_version(tmp_path / "version", task="lungs", architecture=LUNGS_NETWORK, name="small-lungs")
    exported = export_bundle(tmp_path / "version", card, None, tmp_path / "out")
    assert not [name for name in exported.files if name.endswith((".pt", ".pth", ".ckpt", ".pkl"))]
    target = tmp_path / "out"
    monkeypatch.syspath_prepend(target)
    try:
        configs = {"meta_file": str(target / METADATA_FILE), "config_file": str(target / INFERENCE_FILE)}
        verify_net_in_out("network_def", **configs, device="cpu", n=2, bundle_root=str(target))
        parser = ConfigParser()
        parser.read_meta(configs["meta_file"])
        assert set(DEFAULT_METADATA) <= set(parser["_meta_"])
        affine = np.array([[0, 0.9, 0, 10], [-0.8, 0, 0, 20], [0, 0, -2.5, 30], [0, 0, 0, 1.0]])
        voxels = np.random.default_rng(3).integers(-1000, 400, (40, 50, 3)).astype(np.int16)
        nib.save(nib.Nifti1Image(voxels, affine), tmp_path / "scan.nii.gz")
        out = tmp_path / "labels.nii.gz"
        run(run_id="run", **configs, bundle_root=str(target), image=str(tmp_path / "scan.nii.gz"), output=str(out))
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] in ("predict", "predict_file", "steps")]:
            del sys.modules[name]
    image = formats.read(tmp_path / "scan.nii.gz")
    expected = Predictor.load(tmp_path / "version", "cpu").predict_labels(image)
    found = formats.read_labels(out, image)
    assert len(np.unique(expected)) > 1
    assert (found != expected).mean() <= 10 * MAX_DIFFERENT
    np.testing.assert_allclose(nib.load(out).affine, affine, atol=1e-5)


@pytest.mark.parametrize("task", ["lungs", "nuclei", "covid", "instruments"])
def test_the_metadata_of_a_bundle_has_what_monai_requires(task: str) -> None:
    models = ModelRegistry(Path("none"), BUNDLED_MODELS)
    card = models.get_live_card(task)
    made = make_metadata(card)
    for key, kind in REQUIRED_METADATA.items():
        assert isinstance(made[key], kind), key
    output = made["network_data_format"]["outputs"]["pred"]
    assert len(output["channel_def"]) == output["num_channels"] == card.architecture.classes
    assert json.loads(json.dumps(made)) == made
