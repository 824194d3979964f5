"""Write a model version as a MONAI bundle: https://docs.monai.io/en/stable/mb_specification.html.

MONAI's own networks and transforms are not used: the bundle brings the copied network and the steps of this program, so
it predicts the same labels. The weights are safetensors. `monai.bundle.load` reads `models/model.pt` only, which is a
pickle file, so it does not load this bundle; `monai.bundle.run` and `ConfigParser` do.
"""

import json
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from napari_medseg.core.model_card import ModelCard
from napari_medseg.inference.portable.copied_code import read_script
from napari_medseg.inference.portable.export import (
    ROI_FOLDER,
    ExportedModel,
    begin_folder,
    write_texts,
    write_version,
)

MODELS_FOLDER, METADATA_FILE, INFERENCE_FILE = "models", "configs/metadata.json", "configs/inference.json"
_SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
_PACKAGES = ("safetensors", "scipy", "scikit-image", "segmentation-models-pytorch")


def export_bundle(folder: Path, card: ModelCard, roi: "tuple[Path, ModelCard] | None", target: Path) -> ExportedModel:
    """Write metadata, inference configuration, weights and code of a version.

    Parameters
    ----------
    folder, card, roi, target
        As of `portable.export.export_version`.

    Raises
    ------
    MedSegError
        As of `export_version`.
    """
    exported = begin_folder(target, card, roi)
    write_version(folder, card, target / MODELS_FOLDER, exported, with_onnx=False)
    if roi is not None and card.field is not None:
        write_version(roi[0], roi[1], target / MODELS_FOLDER / ROI_FOLDER, exported, with_onnx=False)
    texts = {
        METADATA_FILE: json.dumps(make_metadata(card), indent=2) + "\n",
        INFERENCE_FILE: json.dumps(_make_inference(card), indent=2) + "\n",
        "predict_file.py": read_script("predict_file.py"),
        "docs/README.md": _format_readme(card),
        "LICENSE": f"{card.licence or 'The licence of these weights is not stated.'}\n",
    }
    write_texts(exported, texts)
    return exported


def make_metadata(card: ModelCard) -> dict[str, Any]:
    """Return `metadata.json`: what the network takes and gives, and which versions it was written with."""
    known = [one for one in card.task_definition.labels if one.value < card.architecture.classes]  # not later ones
    labels = {"0": "background"} | {str(one.value): one.name for one in known}
    if card.instances is not None:
        labels = {str(level): f"level {level} of the depth in an object" for level in range(card.architecture.classes)}
    channels = card.architecture.in_channels
    image = _describe_tensor("image", channels, {str(n): "the prepared plane" for n in range(channels)})
    return {
        "schema": _SCHEMA,
        "version": f"{card.version}.0.0",
        "changelog": {f"{card.version}.0.0": f"exported by napari-medseg {version_of('napari-medseg')}"},
        "monai_version": version_of("monai"),
        "pytorch_version": version_of("torch").partition("+")[0],
        "numpy_version": version_of("numpy"),
        "required_packages_version": {name: version_of(name) for name in _PACKAGES},
        "name": card.id,
        "task": card.task_definition.title,
        "description": f"{card.task_definition.title}: {', '.join(one.name for one in card.task_definition.labels)}. "
        "See docs/README.md and models/card.json.",
        "authors": "see models/card.json",
        "copyright": card.licence or "not stated",
        "intended_use": "Research; labels that a person corrects. Not a medical device.",
        "network_data_format": {
            "inputs": {"image": image},
            "outputs": {"pred": _describe_tensor("segmentation", card.architecture.classes, labels)},
        },
    }


def _describe_tensor(kind: str, channels: int, meanings: dict[str, str]) -> dict[str, Any]:
    return {
        "type": "image" if kind == "image" else "probabilities",
        "format": kind,
        "modality": "any",
        "num_channels": channels,
        "spatial_shape": ["32*n", "32*n"],
        "dtype": "float32",
        "value_range": [],
        "is_patch_data": False,
        "channel_def": meanings,
    }


def _make_inference(card: ModelCard) -> dict[str, Any]:
    return {
        "imports": ["$import sys"],
        "bundle_root": ".",
        "image": "image.nii.gz",
        "output": "labels.nii.gz",
        "is_hu": "CT" in card.task_definition.modalities,
        "network_def": {"_target_": "predict.load_network", "folder": f"$@bundle_root + '/{MODELS_FOLDER}'"},
        "initialize": ["$sys.path.insert(0, @bundle_root)"],
        "run": [
            {
                "_target_": "predict_file.predict_file",
                "image": "@image",
                "output": "@output",
                "models": f"$@bundle_root + '/{MODELS_FOLDER}'",
                "network": "@network_def",
                "is_hu": "@is_hu",
            }
        ],
    }


def _format_readme(card: ModelCard) -> str:
    labels = ", ".join(f"{label.value} {label.name}" for label in card.task_definition.labels)
    scores = [f"- {one.metric} {one.mean:.4f} on {one.n_images} images of {one.dataset}" for one in card.hold_out]
    lines = [
        f"# {card.id}: {card.task_definition.title}",
        "",
        "In the folder of the bundle:",
        "",
        "    pip install monai fire nibabel -r requirements.txt",
        f"    python -m monai.bundle run --config_file {INFERENCE_FILE} --image scan.nii.gz --output labels.nii.gz",
        "",
        f"Labels: {labels}{'; each object has a number' if card.instances else ''}. They lie on the grid of the image. "
        "`--is_hu` says whether values are Hounsfield units.",
        "",
        "- The weights are safetensors, no pickle. `monai.bundle.load` reads pickle files only; load the network by "
        f"`ConfigParser` with {INFERENCE_FILE} and `get_parsed_content('network_def')`.",
        "- `predict.py` and `steps` are the network and the steps before and after it, copied from napari-medseg.",
        *(["", "Hold-out:", "", *scores] if scores else []),
        *(["", "Known weaknesses:", "", *(f"- {one}" for one in card.weaknesses)] if card.weaknesses else []),
        "",
    ]
    return "\n".join(lines)
