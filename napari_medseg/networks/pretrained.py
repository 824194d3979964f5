"""Pretrained encoder weights: published weights such as ImageNet's, a file, or the encoder of a version.

`training.start_plan` decides which of them a network starts from.

Weights are only read from safetensors files, also from the Hugging Face hub. If only a pickle file is available, an
error is raised.
"""

import logging
import re
from pathlib import Path

import segmentation_models_pytorch as smp
import timm
import torch
from huggingface_hub import hf_hub_download
from torch import Tensor, nn

from napari_medseg.core.atomic_io import compute_file_sha256
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import IMAGENET_WEIGHTS, RANDOM_WEIGHTS, WEIGHT_SOURCES_TEXT, Architecture
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.networks.architectures import get_default_encoder, get_flexible_size_options
from napari_medseg.networks.ensemble import ENSEMBLE
from napari_medseg.networks.model_files import load_version, load_weights_strictly, read_weights

HUB_FILE = "model.safetensors"

_VERSION_PATTERN = r"[a-z0-9-]+@[0-9]+"

logger = logging.getLogger(__name__)


class NoWeightsError(MedSegError):
    """Published weights do not exist or cannot be downloaded."""


def initialise_encoder(
    network: nn.Module, architecture: Architecture, source: str, weights_dir: Path, registry: ModelRegistry
) -> None:
    """Load pretrained weights into a network's encoder.

    Parameters
    ----------
    network, architecture
        The network, and the architecture that it was built from.
    source
        ``"imagenet"`` or another name of published weights in smp, such as ``"swsl"``: from the Hugging Face hub or its
        local cache. A version such as ``"lungs-unet@4"``: its encoder. A path of a safetensors file. ``"none"``: keep
        the random weights.
    weights_dir
        Base folder of relative paths.
    registry
        Registry of the versions.

    Raises
    ------
    MedSegError
        If these weights are not available or do not fit. An encoder never silently stays random.
    """
    if source == RANDOM_WEIGHTS:
        logger.info("the encoder of %s starts from random weights", architecture.name)
        return
    architecture = architecture.model_copy(update={"encoder": _get_encoder_name(architecture)})
    if source in {IMAGENET_WEIGHTS, *_get_smp_weight_settings(architecture.encoder)}:
        load_encoder_state(network, _load_hub_weights(architecture, source), f"{architecture.encoder} ({source})")
    elif re.fullmatch(_VERSION_PATTERN, source):
        _load_from_version(network, architecture, source, registry)
    elif source.strip():
        load_encoder_file(network, weights_dir / Path(source).expanduser())
    else:
        raise MedSegError(f"no start weights are given for {architecture.name}. Name {WEIGHT_SOURCES_TEXT}.")
    logger.info("the encoder of %s starts from %s", architecture.name, source)


def list_published_weights(architecture: Architecture) -> list[str]:
    """List the names of the published weights of a network's encoder, for `initialise_encoder`.

    ImageNet's come first, then names that contain "imagenet". The list is empty if there are no published weights of
    this encoder, or the network has no selectable encoder.
    """
    encoder = _get_encoder_name(architecture)
    if encoder.startswith("tu-"):
        config = timm.models.get_pretrained_cfg(encoder.removeprefix("tu-"))
        return [IMAGENET_WEIGHTS] if config is not None and config.hf_hub_id else []
    return sorted(
        _get_smp_weight_settings(encoder),
        key=lambda name: (name != IMAGENET_WEIGHTS, IMAGENET_WEIGHTS not in name, name),
    )


def describe_encoder_weights(architecture: Architecture, source: str, weights_dir: Path) -> str:
    """Describe, for a card, the start weights of an encoder; the arguments are those of `initialise_encoder`."""
    encoder = _get_encoder_name(architecture)
    if source in {IMAGENET_WEIGHTS, *_get_smp_weight_settings(encoder)}:
        return f"{source} ({encoder})"
    if re.fullmatch(_VERSION_PATTERN, source):
        return source
    path = weights_dir / Path(source).expanduser()
    return f"file {path.name} (sha256 {compute_file_sha256(path)})"


def load_encoder_file(network: nn.Module, path: Path) -> None:
    """Load the weights of a safetensors file into `network.encoder`; every key must fit.

    Raises
    ------
    MedSegError
        If the file cannot be read, or belongs to another encoder.
    """
    if not path.is_file():
        raise MedSegError(f"there is no file {path} with an encoder's weights. Name {WEIGHT_SOURCES_TEXT}.")
    load_encoder_state(network, read_weights(path), path.name)


def load_encoder_state(network: nn.Module, weights: dict[str, Tensor], source: str) -> None:
    """Load weights into `network.encoder`; those of the first layer are adapted to its number of input channels.

    Raises
    ------
    MedSegError
        If the network has no encoder, or a key is missing, unexpected or of another shape; the text names `source`.
    """
    encoder = _get_encoder(network, source)
    first = next((name for name, tensor in encoder.state_dict().items() if tensor.ndim == 4), "")
    if first in weights and weights[first].ndim == 4:
        wanted = {name: tensor.shape for name, tensor in encoder.state_dict().items()}
        before, after = weights[first].shape[1], wanted[first][1]
        weights = {  # an encoder may have several layers that read the plane
            name: adapt_input_channels(kernels, after)
            if _differ_in_channels(kernels, wanted.get(name), before, after)
            else kernels
            for name, kernels in weights.items()
        }
    load_weights_strictly(encoder, weights, source)


def adapt_input_channels(kernels: Tensor, channels: int) -> Tensor:
    """Return the kernels (out, channels, h, w) of a first layer, from kernels (out, c, h, w) for c channels.

    A grey plane in all channels gets the answer that it got before. Fewer channels share the sum of all; of more, each
    takes the kernels of red, green, blue, red, ... in turn, divided by how many take the same.

    Returns
    -------
    Tensor
        (out, channels, h, w).
    """
    given = kernels.shape[1]
    if channels < given:
        return (kernels.sum(dim=1, keepdim=True) / channels).repeat(1, channels, 1, 1)
    taken = torch.arange(channels) % given
    shares = torch.bincount(taken)[taken]
    return kernels[:, taken] / shares[:, None, None]


def _differ_in_channels(kernels: Tensor, wanted: torch.Size | None, before: int, after: int) -> bool:
    """Whether kernels differ from the wanted shape only in the number of channels of the plane."""
    return wanted is not None and before != after and kernels.shape[1:2] == (before,) and wanted[1:2] == (after,)


def _get_encoder(network: nn.Module, source: str) -> nn.Module:
    if not isinstance(encoder := getattr(network, "encoder", None), nn.Module):
        raise MedSegError(f"{type(network).__name__} has no encoder for {source}. Do not give encoder weights.")
    return encoder


def _get_encoder_name(architecture: Architecture) -> str:
    """Return the name of the encoder; empty for an ensemble."""
    if architecture.encoder or architecture.name == ENSEMBLE:
        return architecture.encoder
    return get_default_encoder(architecture.name)


def _load_from_version(network: nn.Module, wanted: Architecture, version: str, registry: ModelRegistry) -> None:
    parent, card = load_version(registry.get_folder(version))
    if card.architecture.encoder != wanted.encoder:
        raise MedSegError(
            f"the encoder of {version} is {card.architecture.encoder or card.architecture.name}, that of this network "
            f"is {wanted.encoder or wanted.name}. Choose a version with the same encoder, or another encoder."
        )
    load_encoder_state(network, _get_encoder(parent, version).state_dict(), version)


def _get_smp_weight_settings(encoder: str) -> dict[str, dict[str, str]]:
    """Return the hub settings of smp for an encoder's weights, by name of the weights."""
    settings: dict[str, dict[str, str]] = smp.encoders.encoders.get(encoder, {}).get("pretrained_settings", {})
    return settings


def _load_hub_weights(architecture: Architecture, source: str) -> dict[str, Tensor]:
    """Return the state dict of an RGB encoder, from the hub or its local cache."""
    encoder = architecture.encoder
    if encoder.startswith("tu-"):
        return _load_timm_weights(architecture)
    settings = _get_smp_weight_settings(encoder)
    if "repo_id" not in settings.get(source, {}):
        known = f" smp lists {sorted(settings)}." if settings else ""
        raise NoWeightsError(
            f'{encoder or architecture.name} has no weights "{source}".{known} Name {WEIGHT_SOURCES_TEXT}.'
        )
    path = _download_weights(encoder, settings[source]["repo_id"], settings[source].get("revision"))
    twin = smp.encoders.get_encoder(encoder, weights=None)
    twin.load_state_dict(read_weights(path))  # drops the classifier, and renames keys of other versions
    weights: dict[str, Tensor] = twin.state_dict()
    return weights


def _load_timm_weights(architecture: Architecture) -> dict[str, Tensor]:
    config = timm.models.get_pretrained_cfg(architecture.encoder.removeprefix("tu-"))
    if config is None or not config.hf_hub_id:
        raise NoWeightsError(f"timm offers no safetensors of {architecture.encoder}. Name {WEIGHT_SOURCES_TEXT}.")
    path = _download_weights(architecture.encoder, config.hf_hub_id, None)
    twin = smp.MODEL_ARCHITECTURES_MAPPING[architecture.name](
        encoder_name=architecture.encoder,
        encoder_weights=True,
        pretrained_cfg_overlay={"file": str(path), "custom_load": False},  # timm would also accept a pickle
        **architecture.options,
        **get_flexible_size_options(architecture),
    )
    weights: dict[str, Tensor] = twin.encoder.state_dict()
    return weights


def _download_weights(encoder: str, repository: str, revision: str | None) -> Path:
    try:
        return Path(hf_hub_download(repository, HUB_FILE, revision=revision))
    except OSError as error:  # no network, no such file, no access, or no disk space
        reason = " ".join(str(error).split())[:200]
        raise NoWeightsError(
            f"cannot get the weights of {encoder}: tried {HUB_FILE} of {repository} at Hugging Face, and its local "
            f"cache ({reason}). Nothing was started. Try again with a network, or name {WEIGHT_SOURCES_TEXT}."
        ) from error
