"""`medseg models export`: a version as a folder that predicts without this program."""

from pathlib import Path
from typing import Annotated

import typer

from napari_medseg.cli.console import echo, echo_json, echo_notice
from napari_medseg.cli.options import JsonOption, RegistryOption, check_output_folder, open_registry


def export(
    model: Annotated[str, typer.Argument(help="Version, such as lungs-unet@4.")],
    output: Annotated[Path, typer.Option("--output", "-o", callback=check_output_folder, help="New or empty folder.")],
    with_onnx: Annotated[bool, typer.Option("--onnx/--no-onnx", help="Write ONNX where the network allows it.")] = True,
    as_json: JsonOption = False,
    registry: RegistryOption = None,
) -> None:
    """Write a version as a folder that predicts without this program.

    predict.py, weights (safetensors), card, the steps before and after the network, and ONNX. A version that needs a
    region of interest brings the live version that finds it.
    """
    from napari_medseg.inference.portable.export import export_version

    models = open_registry(registry)
    card = models.get_card(model)
    roi_card, roi_folder = models.find_roi_model(card), models.find_roi_folder(card)
    roi = None if roi_card is None or roi_folder is None else (roi_folder, roi_card)
    exported = export_version(models.get_folder(model), card, roi, output, with_onnx=with_onnx)
    if as_json:
        echo_json({"folder": str(output), "files": exported.files, "remarks": exported.remarks})
        return
    for remark in exported.remarks:
        echo_notice(remark)
    echo(f"{card.id} is in {output}: python {output / 'predict.py'} IMAGE.npy LABELS.npy")
