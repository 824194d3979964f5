"""What models are made of: a card is rebuilt into a network here, without any training code and without a download."""

from napari_medseg.core.model_card import CARD_FILE, WEIGHTS_FILE
from napari_medseg.networks.architectures import ARCHITECTURES, build_network, parse_architecture
from napari_medseg.networks.model_files import load_version, save_version
from napari_medseg.networks.pretrained import initialise_encoder, load_encoder_file

__all__ = [
    "ARCHITECTURES",
    "CARD_FILE",
    "WEIGHTS_FILE",
    "build_network",
    "initialise_encoder",
    "load_encoder_file",
    "load_version",
    "parse_architecture",
    "save_version",
]
