"""Network architectures: builds a network from a model card, without training code and without downloads."""

from napari_medseg.networks.architectures import ARCHITECTURES, build_network, parse_architecture
from napari_medseg.networks.model_files import load_version, save_version
from napari_medseg.networks.pretrained import initialise_encoder, load_encoder_file

__all__ = [
    "ARCHITECTURES",
    "build_network",
    "initialise_encoder",
    "load_encoder_file",
    "load_version",
    "parse_architecture",
    "save_version",
]
