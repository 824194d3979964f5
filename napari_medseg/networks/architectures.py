"""Networks by name: those of segmentation-models-pytorch (smp), and those of this package in `_NON_SMP_NETWORKS`."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import segmentation_models_pytorch as smp
from segmentation_models_pytorch.encoders.mobilenet import MobileNetV2Encoder
from torch import nn

from napari_medseg.core.errors import MedSegError, get_reason, look_up
from napari_medseg.core.model_card import Architecture
from napari_medseg.networks import fcn_deeplab
from napari_medseg.networks.ensemble import ENSEMBLE, build_ensemble
from napari_medseg.networks.padding import add_input_padding
from napari_medseg.networks.segnet import SegNet
from napari_medseg.networks.unets import ConvUNet, InceptionUNet

Builder = Callable[[Architecture], nn.Module]

DILATION_ADVICE = (
    "This network dilates the last stages of its encoder, which not every encoder allows. Instead of xception, use "
    "tu-xception65, tu-xception41 or tu-xception71, the aligned Xceptions that DeepLabV3+ was published with. "
)
MIN_SIDE_PX = {"pan": 128}
"""Minimum side of a plane, by architecture: PAN halves its coarsest features three more times."""
SHORT_MOBILENET = "mobilenet_v2_short"
"""Name of `ShortMobileNetV2` as an encoder."""


class ShortMobileNetV2(MobileNetV2Encoder):  # type: ignore[misc]  # smp has no types
    """MobileNetV2 (Sandler et al., CVPR 2018) up to its maps of 16 px: a quarter of its weights.

    smp keeps all layers of an encoder that is cut by `encoder_depth`, also those that nothing reads.

    Parameters
    ----------
    depth
        At most 4, the number of times that the sides are halved; networks have it as `encoder_depth`.
    settings
        Those of smp's encoder.

    Raises
    ------
    ValueError
        If `depth` is above 4.
    """

    N_LAYERS = 14

    def __init__(self, depth: int = 4, **settings: Any) -> None:  # noqa: ANN401 -- what smp passes
        if depth > 4:
            raise ValueError(f"{SHORT_MOBILENET} has a depth of at most 4, not {depth}: set encoder_depth to 4")
        super().__init__(depth=depth, **settings)
        del self.features[self.N_LAYERS :]


smp.encoders.encoders[SHORT_MOBILENET] = {  # as the documentation of smp adds an encoder
    "encoder": ShortMobileNetV2,
    "params": {"out_channels": [3, 16, 24, 32, 96]},
    "pretrained_settings": {},
}


def build_network(architecture: Architecture) -> nn.Module:
    """Build a network with random weights; nothing is downloaded.

    Parameters
    ----------
    architecture
        From a card. An empty encoder means the default of the network, which never changes. `options` are passed to the
        network's class, for example ``{"decoder_channels": [128, 64, 32, 16, 16]}``.

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
    try:
        return ARCHITECTURES[architecture.name](architecture)
    except _WRONG_OPTIONS as error:  # the networks check the numbers, but not the types, of what a card holds
        encoder = f" on {architecture.encoder}" if architecture.encoder else ""
        advice = DILATION_ADVICE if "encoder_output_stride" in _list_parameters(architecture.name) else ""
        raise MedSegError(
            f"cannot build {architecture.name}{encoder} with options {architecture.options}: {get_reason(error)}. "
            f"{advice}Correct the architecture in the card or the recipe."
        ) from error


_WRONG_OPTIONS = (TypeError, ValueError, RuntimeError, LookupError, ArithmeticError, AttributeError, AssertionError)


def _list_parameters(name: str) -> set[str]:
    return set(inspect.signature(_NETWORKS[name].__init__).parameters) if name in _NETWORKS else set()


def parse_architecture(text: str, in_channels: int, classes: int) -> Architecture:
    """Parse ``"deeplabv3plus:tu-xception65"`` or ``"conv_unet"``: a network name and, after a colon, its encoder.

    Without an encoder, the default encoder of the network's class is used.

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
    """Return the default encoder of an architecture; empty if its encoder cannot be chosen."""
    parameters = inspect.signature(_NETWORKS[name].__init__).parameters
    return str(parameters["encoder_name"].default) if "encoder_name" in parameters else ""


def get_flexible_size_options(architecture: Architecture) -> dict[str, bool]:
    """Return the options that let timm's transformers accept planes of any size, not only their training size."""
    if architecture.name == "dpt":
        return {"dynamic_img_size": True}
    return {"strict_img_size": False} if architecture.encoder.startswith("tu-swin") else {}


def _build_smp(network: type[nn.Module], architecture: Architecture) -> nn.Module:
    encoder = architecture.encoder or get_default_encoder(architecture.name)
    _check_encoder(encoder)
    choices = set(inspect.signature(network.__init__).parameters) - {"self", "kwargs"}
    options = _validate_options(architecture, choices)  # smp ignores unknown options
    return add_input_padding(network, MIN_SIDE_PX.get(architecture.name, 1))(
        encoder_name=encoder,
        encoder_weights=None,  # weights are loaded later; no download
        in_channels=architecture.in_channels,
        classes=architecture.classes,
        **options,
        **get_flexible_size_options(architecture),
    )


def _build_non_smp(network: type[nn.Module], architecture: Architecture) -> nn.Module:
    choices = set(inspect.signature(network).parameters)
    options = _validate_options(architecture, choices - {"encoder_name", "in_channels", "classes"})
    if "encoder_name" in choices:
        options["encoder_name"] = architecture.encoder or get_default_encoder(architecture.name)
    elif architecture.encoder:
        raise MedSegError(
            f"{architecture.name} has no encoder to choose, but {architecture.encoder!r} is given. Leave it out."
        )
    return add_input_padding(network)(in_channels=architecture.in_channels, classes=architecture.classes, **options)


def _validate_options(architecture: Architecture, choices: set[str]) -> dict[str, Any]:
    if unknown := sorted(architecture.options.keys() - choices):
        raise MedSegError(f"{architecture.name} has no options {unknown}; choose among {sorted(choices)}")
    return dict(architecture.options)


def _check_name(name: str) -> None:
    look_up(ARCHITECTURES, name, "architecture")


def _check_encoder(name: str) -> None:
    """Raise an error for encoders unknown to smp; timm checks its own encoders (`tu-...`)."""
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
