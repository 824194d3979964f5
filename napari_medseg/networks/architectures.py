"""Networks by name. Those of segmentation-models-pytorch come as they are; what it lacks is added as a line below."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import segmentation_models_pytorch as smp
from torch import nn

from napari_medseg.core.errors import MedSegError, look_up
from napari_medseg.core.model_card import Architecture
from napari_medseg.networks import fcn_deeplab
from napari_medseg.networks.ensemble import ENSEMBLE, build_ensemble
from napari_medseg.networks.padding import add_input_padding
from napari_medseg.networks.segnet import SegNet
from napari_medseg.networks.unets import ConvUNet, InceptionUNet

Builder = Callable[[Architecture], nn.Module]

DILATION_ADVICE = (
    "This network dilates its encoder's last stages, which not every encoder allows; in the place of xception take "
    "tu-xception65, tu-xception41 or tu-xception71, the aligned Xceptions that DeepLabV3+ was published with. "
)
MIN_SIDE_PX = {"pan": 128}
"""Shortest side that an architecture can bear: PAN halves its coarsest features three times more."""


def build_network(architecture: Architecture) -> nn.Module:
    """Make a network with random weights; nothing is downloaded.

    Parameters
    ----------
    architecture
        From a card. It may leave the encoder empty for the network's own default, which never changes for the sake of
        such cards. `options` go to the network's class, as in
        ``{"decoder_channels": [128, 64, 32, 16, 16]}``.

    Returns
    -------
    nn.Module
        Maps float tensors (n, in_channels, h, w) to logits (n, classes, h, w) for any h and w.

    Raises
    ------
    MedSegError
        If the name, the encoder or an option is unknown; the text lists the choices or names the option.
    """
    _check_name(architecture.name)
    return ARCHITECTURES[architecture.name](architecture)


def parse_architecture(text: str, in_channels: int, classes: int) -> Architecture:
    """Return what ``"deeplabv3plus:tu-xception65"`` or ``"conv_unet"`` means: a name and, after a colon, its encoder.

    Without an encoder it is the one that the network's class has by default.

    Raises
    ------
    MedSegError
        If the name is unknown; the text lists the choices.
    """
    name, _, encoder = text.partition(":")
    _check_name(name)
    encoder = encoder or get_default_encoder(name)
    return Architecture(name=name, encoder=encoder, in_channels=in_channels, classes=classes)


def get_default_encoder(name: str) -> str:
    """Return the encoder that an architecture's class has by default; empty where there is none to choose."""
    parameters = inspect.signature(_NETWORKS[name].__init__).parameters
    return str(parameters["encoder_name"].default) if "encoder_name" in parameters else ""


def get_flexible_size_options(architecture: Architecture) -> dict[str, bool]:
    """Return what frees timm's transformers from the one size of planes that they were trained at."""
    if architecture.name == "dpt":
        return {"dynamic_img_size": True}
    return {"strict_img_size": False} if architecture.encoder.startswith("tu-swin") else {}


def _build_smp(network: type[nn.Module], architecture: Architecture) -> nn.Module:
    encoder = architecture.encoder or get_default_encoder(architecture.name)
    _check_encoder(encoder)
    choices = set(inspect.signature(network.__init__).parameters) - {"self", "kwargs"}
    options = _validate_options(architecture, choices)  # smp itself would swallow unknown ones
    try:
        return add_input_padding(network, MIN_SIDE_PX.get(architecture.name, 1))(
            encoder_name=encoder,
            encoder_weights=None,  # a card's weights follow; a download would only cost time and need a network
            in_channels=architecture.in_channels,
            classes=architecture.classes,
            **options,
            **get_flexible_size_options(architecture),
        )
    except (TypeError, ValueError, RuntimeError, NotImplementedError) as error:
        advice = DILATION_ADVICE if "encoder_output_stride" in choices else ""
        raise MedSegError(
            f"cannot build {architecture.name} on {encoder} with options {options}: {error}. {advice}"
            "Correct the architecture in the card or the recipe."
        ) from error


def _build_non_smp(network: type[nn.Module], architecture: Architecture) -> nn.Module:
    choices = set(inspect.signature(network).parameters)
    options = _validate_options(architecture, choices - {"encoder_name", "in_channels", "classes"})
    if "encoder_name" in choices:
        options["encoder_name"] = architecture.encoder or get_default_encoder(architecture.name)
    elif architecture.encoder:
        raise MedSegError(f"{architecture.name} has no encoder to choose, so {architecture.encoder!r} is wrong there")
    return add_input_padding(network)(in_channels=architecture.in_channels, classes=architecture.classes, **options)


def _validate_options(architecture: Architecture, choices: set[str]) -> dict[str, Any]:
    if unknown := sorted(architecture.options.keys() - choices):
        raise MedSegError(f"{architecture.name} has no options {unknown}; choose among {sorted(choices)}")
    return dict(architecture.options)


def _check_name(name: str) -> None:
    look_up(ARCHITECTURES, name, "architecture")


def _check_encoder(name: str) -> None:
    """Refuse what smp does not list; timm's encoders (`tu-...`) are left to timm, which names its own."""
    if not name.startswith("tu-"):
        choices = dict.fromkeys(smp.encoders.get_encoder_names())
        look_up(choices, name, "encoder", advice=", or tu-<any model of timm>")


_NON_SMP_NETWORKS: dict[str, type[nn.Module]] = {
    "segnet": SegNet,
    "fcn": fcn_deeplab.Fcn,
    "deeplabv3_tv": fcn_deeplab.DeepLabV3,
    "conv_unet": ConvUNet,
    "inception_unet": InceptionUNet,
}
_NETWORKS: dict[str, type[nn.Module]] = smp.MODEL_ARCHITECTURES_MAPPING | _NON_SMP_NETWORKS

ARCHITECTURES: dict[str, Builder] = {
    name: partial(_build_non_smp if name in _NON_SMP_NETWORKS else _build_smp, network)
    for name, network in _NETWORKS.items()
}
ARCHITECTURES[ENSEMBLE] = partial(build_ensemble, build_member=build_network)
