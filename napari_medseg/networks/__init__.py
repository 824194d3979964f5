"""What models are made of: a card is rebuilt into a network here, without any training code and without a download."""

from napari_medseg.core.model_card import CARD_FILE, WEIGHTS_FILE
from napari_medseg.networks.architectures import ARCHITECTURES, architecture_named, build
from napari_medseg.networks.model_files import load_version, save_version
from napari_medseg.networks.pretrained import load_encoder_weights, start_encoder

__all__ = [
    "ARCHITECTURES",
    "CARD_FILE",
    "WEIGHTS_FILE",
    "architecture_named",
    "build",
    "load_encoder_weights",
    "load_version",
    "save_version",
    "start_encoder",
]
