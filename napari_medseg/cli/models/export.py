"""`medseg models export`: a version as a folder that predicts without this program."""

from pathlib import Path
from typing import Annotated

import typer

from napari_medseg.cli.console import echo, echo_json, echo_notice
from napari_medseg.cli.options import JsonOption, RegistryOption, check_output_folder, open_registry
from napari_medseg.core.errors import look_up

FOLDER, BUNDLE = "folder", "monai-bundle"


def export(
    model: Annotated[str, typer.Argument(help="Version, such as lungs-unet@4.")],
    output: Annotated[Path, typer.Option("--output", "-o", callback=check_output_folder, help="New or empty folder.")],
    layout: Annotated[str, typer.Option("--format", help="folder, or monai-bundle.")] = FOLDER,
    with_onnx: Annotated[bool, typer.Option("--onnx/--no-onnx", help="Write ONNX where the network allows it.")] = True,
    as_json: JsonOption = False,
    registry: RegistryOption = None,
) -> None:
    """Write a version as a folder, or as a MONAI bundle, that predicts without this program.

    predict.py, weights (safetensors), card, the steps before and after the network, and ONNX; of a bundle its metadata
    and inference configuration. A version that needs a region of interest brings the live version that finds it.
    """
    from napari_medseg.inference.portable.export import export_version
    from napari_medseg.inference.portable.monai_bundle import INFERENCE_FILE, export_bundle

    is_bundle = look_up({FOLDER: False, BUNDLE: True}, layout, problem=f"a model cannot be written as {layout!r}")

    models = open_registry(registry)
    card = models.get_card(model)
    roi_card, roi_folder = models.find_roi_model(card), models.find_roi_folder(card)
    roi = None if roi_card is None or roi_folder is None else (roi_folder, roi_card)
    folder = models.get_folder(model)
    if is_bundle:
        exported = export_bundle(folder, card, roi, output)
    else:
        exported = export_version(folder, card, roi, output, with_onnx=with_onnx)
    if as_json:
        echo_json({"folder": str(output), "files": exported.files, "remarks": exported.remarks})
        return
    for remark in exported.remarks:
        echo_notice(remark)
    if is_bundle:
        run = f"python -m monai.bundle run --config_file {INFERENCE_FILE} --image scan.nii.gz --output labels.nii.gz"
        echo(f"{card.id} is in {output}. There: {run}")
        return
    echo(f"{card.id} is in {output}: python {output / 'predict.py'} IMAGE.npy LABELS.npy")
