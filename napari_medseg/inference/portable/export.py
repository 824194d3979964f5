"""Write a model version as a folder that predicts without this program."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from napari_medseg.core.atomic_io import atomic_write_text
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import CARD_FILE, WEIGHTS_FILE, ModelCard, copy_version
from napari_medseg.inference.portable.copied_code import make_copies, read_script
from napari_medseg.inference.portable.onnx_file import ONNX_FILE, has_onnx, write_onnx
from napari_medseg.networks import load_version

STEPS_FOLDER, ROI_FOLDER = "steps", "roi"
_REQUIRED = "numpy\nsafetensors\nscipy\nscikit-image\nsegmentation-models-pytorch\ntorch\n"
_OF_A_VERSION = {CARD_FILE, WEIGHTS_FILE}


@dataclass(frozen=True)
class ExportedModel:
    """The folder, its files by their names in it, and what was left out or should be known."""

    folder: Path
    files: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def export_version(
    folder: Path, card: ModelCard, roi: "tuple[Path, ModelCard] | None", target: Path, *, with_onnx: bool
) -> ExportedModel:
    """Write `predict.py`, weights, card and the copied steps; with ONNX also `model.onnx`.

    Parameters
    ----------
    folder, card
        The version; the card as it is to be passed on.
    roi
        Folder and card of the version that finds its region of interest, which is exported with it; `None` if it has
        none.
    target
        A folder that does not exist or is empty.
    with_onnx
        Whether to write ONNX where the packages are installed and the network allows it.

    Raises
    ------
    MedSegError
        If the target has files, a region of interest is needed and not given, or the version is damaged.
    """
    exported = begin_folder(target, card, roi)
    write_version(folder, card, target, exported, with_onnx=with_onnx)
    if roi is not None and card.field is not None:
        write_version(roi[0], roi[1], target / ROI_FOLDER, exported, with_onnx=with_onnx)
    write_texts(exported, {"README.md": _format_readme(card, exported)})
    return exported


def begin_folder(target: Path, card: ModelCard, roi: "tuple[Path, ModelCard] | None") -> ExportedModel:
    """Make the folder of an export; raise `MedSegError` if it has files, or a region of interest is missing."""
    if card.field is not None and roi is None:
        raise MedSegError(f"{card.id} needs a model of {card.field.task!r}, and none is live. Promote one first.")
    if target.exists() and any(target.iterdir()):
        raise MedSegError(f"{target} holds files already. Choose a new folder; nothing is overwritten.")
    target.mkdir(parents=True, exist_ok=True)
    return ExportedModel(target)


def write_texts(exported: ExportedModel, others: Mapping[str, str]) -> None:
    """Write the script with the steps that it needs, and other texts by their names; then list all files."""
    target = exported.folder
    texts = {f"{STEPS_FOLDER}/{name}": text for name, text in make_copies().items()}
    for name, text in (texts | {"predict.py": read_script(), "requirements.txt": _REQUIRED} | dict(others)).items():
        (target / name).parent.mkdir(exist_ok=True)
        atomic_write_text(target / name, text)
    exported.files.extend(path.relative_to(target).as_posix() for path in sorted(target.rglob("*")) if path.is_file())


def write_version(folder: Path, card: ModelCard, target: Path, exported: ExportedModel, *, with_onnx: bool) -> None:
    """Copy card and weights of a version into a folder; with ONNX, if packages and network allow it."""
    network, _ = load_version(folder)  # refuses damaged weights
    _copy(folder, card, target)
    if not with_onnx:
        return
    if not has_onnx():
        exported.remarks.append('No ONNX file: pip install "napari-medseg[onnx]".')
        return
    try:
        gap = write_onnx(network, card, target / ONNX_FILE)
        exported.remarks.append(f"{ONNX_FILE} of {card.id}: same labels as PyTorch, logits within {gap:.1g}.")
    except MedSegError as error:
        exported.remarks.append(f"No ONNX file of {card.id}: {error}")


def _copy(folder: Path, card: ModelCard, target: Path) -> None:
    """Copy a version into a folder that may exist, but is empty."""
    if target.exists():
        target.rmdir()
    copy_version(card, folder, target)
    for path in target.iterdir():
        if path.name not in _OF_A_VERSION:
            path.unlink()


def _format_readme(card: ModelCard, exported: ExportedModel) -> str:
    labels = ", ".join(f"{label.value} {label.name}" for label in card.task_definition.labels)
    scores = [
        f"- {score.metric} {score.mean:.4f} on {score.n_images} images of {score.dataset}" for score in card.hold_out
    ]
    lines = [
        f"# {card.id}: {card.task_definition.title}",
        "",
        "    pip install -r requirements.txt",
        "    python predict.py scan.npy labels.npy --hu --spacing 5 0.8 0.8",
        "",
        f"Labels: {labels}{'; each object has a number' if card.instances else ''}.",
        f"Licence: {card.licence or 'not stated'}.",
        "",
        "- An image is (y, x) or (z, y, x), RGB with 3 values behind. x runs to the patient's left, "
        "y to the back, z to the head. `--hu` says that values are Hounsfield units. NIfTI is read and turned if "
        "nibabel is installed.",
        "- `predict.py` computes in fp32 and whole planes. The labels are those of napari-medseg; where that "
        "computes in bf16 or, for large planes, in tiles, single pixels at edges differ.",
        "- `model.onnx`, where it was written, maps prepared planes to logits; `steps` prepares and finishes.",
        *[f"- {remark}" for remark in exported.remarks],
        "",
        *(["Hold-out:", "", *scores, ""] if scores else []),
        *(["Known weaknesses:", "", *(f"- {weakness}" for weakness in card.weaknesses), ""] if card.weaknesses else []),
    ]
    return "\n".join(lines)
