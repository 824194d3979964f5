"""Networks by name. Those of segmentation-models-pytorch come as they are; what it lacks is added as a line below."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import segmentation_models_pytorch as smp
from torch import nn

from napari_medseg.core.cards import Architecture
from napari_medseg.core.errors import MedSegError
from napari_medseg.networks.ensemble import ENSEMBLE, build_ensemble

Builder = Callable[[Architecture], nn.Module]


def build(architecture: Architecture) -> nn.Module:
    """Make a network with random weights; nothing is downloaded.

    Parameters
    ----------
    architecture
        From a card. `options` go to the network's class, as in ``{"decoder_channels": [128, 64, 32, 16, 16]}``.

    Returns
    -------
    nn.Module
        Maps float tensors (n, in_channels, h, w) to logits (n, classes, h, w); h and w are multiples of 32.

    Raises
    ------
    MedSegError
        If the name, the encoder or an option is unknown; the text lists the choices or names the option.
    """
    if architecture.name not in ARCHITECTURES:
        raise MedSegError(f"unknown architecture {architecture.name!r}; choose one of {sorted(ARCHITECTURES)}")
    return ARCHITECTURES[architecture.name](architecture)


def _build_smp(network: type[nn.Module], architecture: Architecture) -> nn.Module:
    _check_encoder(architecture.encoder)
    options: dict[str, Any] = dict(architecture.options)
    choices = set(inspect.signature(network.__init__).parameters) - {"self", "kwargs"}
    if unknown := sorted(options.keys() - choices):  # smp itself would swallow them
        raise MedSegError(f"{architecture.name} has no options {unknown}; choose among {sorted(choices)}")
    try:
        return network(
            encoder_name=architecture.encoder,
            encoder_weights=None,  # a card's weights follow; a download would only cost time and need a network
            in_channels=architecture.in_channels,
            classes=architecture.classes,
            **options,
        )
    except (TypeError, ValueError) as error:
        raise MedSegError(
            f"cannot build {architecture.name} on {architecture.encoder} with options {options}: {error}. "
            "Correct the architecture in the card or the recipe."
        ) from error


def _check_encoder(name: str) -> None:
    """Refuse what smp does not list; timm's encoders (`tu-...`) are left to timm, which names its own."""
    choices = smp.encoders.get_encoder_names()
    if not name.startswith("tu-") and name not in choices:
        raise MedSegError(f"unknown encoder {name!r}; choose one of {sorted(choices)}, or tu-<any model of timm>")


ARCHITECTURES: dict[str, Builder] = {
    name: partial(_build_smp, network) for name, network in smp.MODEL_ARCHITECTURES_MAPPING.items()
}
ARCHITECTURES[ENSEMBLE] = partial(build_ensemble, build_member=build)
