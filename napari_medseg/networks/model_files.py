"""A version on disk: `card.json` and `model.safetensors`.

Pickle files are never read, and weights are only used if their SHA-256 matches the card.
"""

import hashlib
import os
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from napari_medseg.core.atomic_io import replace_file
from napari_medseg.core.errors import MedSegError, get_reason
from napari_medseg.core.model_card import CARD_FILE, WEIGHTS_FILE, ModelCard, read_card, write_card
from napari_medseg.networks.architectures import build_network
from napari_medseg.networks.meta_network import build_on_meta, can_assign, limit_growth

_ALIGNMENT = 64
"""Bytes, of memory that PyTorch allocates on a CPU."""


def load_version(folder: Path) -> tuple[nn.Module, ModelCard]:
    """Rebuild a version's network, in evaluation mode, fp32, on the CPU.

    Raises
    ------
    MedSegError
        If the card or the weights are missing, damaged, or do not belong together.
    """
    card = read_card(folder / CARD_FILE)
    data = _read_bytes(folder / WEIGHTS_FILE)
    if (found := hashlib.sha256(data).hexdigest()) != card.weights_sha256:
        raise MedSegError(
            f"the weights of {card.id} are damaged: SHA-256 {found[:12]}, but its card says "
            f"{card.weights_sha256[:12] or 'none'}. Install the model again or roll back to another version."
        )
    return _build_with_weights(card, _parse_weights(data, folder / WEIGHTS_FILE)).eval(), card


def save_version(network: nn.Module, card: ModelCard, folder: Path) -> ModelCard:
    """Write weights and card into a folder; the folder is created if it is missing.

    Returns
    -------
    ModelCard
        The written card, with the SHA-256 of the weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data = save({name: _convert_to_half(tensor) for name, tensor in network.state_dict().items()})
    card = card.model_copy(update={"weights_sha256": hashlib.sha256(data).hexdigest()})
    weights_tmp, card_tmp = folder / f"{WEIGHTS_FILE}.tmp", folder / f"{CARD_FILE}.tmp"
    with weights_tmp.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    write_card(card, card_tmp)
    replace_file(weights_tmp, folder / WEIGHTS_FILE)
    replace_file(card_tmp, folder / CARD_FILE)  # last: a folder with a card is complete
    return card


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Returns
    -------
    dict
        Tensors by name on the CPU, in the shapes of the file; floats as float32.

    Raises
    ------
    MedSegError
        If it is missing or is something else.
    """
    return _parse_weights(_read_bytes(path), path)


def load_weights_strictly(module: nn.Module, weights: dict[str, Tensor], source: str) -> None:
    """Put weights into a module.

    Parameters
    ----------
    module
        Is changed in place.
    weights
        By the names of `module.state_dict()`, each of the shape there.
    source
        Where they come from, for the message.

    Raises
    ------
    MedSegError
        If a key is missing, too many, or of another shape.
    """
    _load_strictly(module, dict(weights), source, assign=False)


def _build_with_weights(card: ModelCard, weights: dict[str, Tensor]) -> nn.Module:
    """Build the network of a card; names and shapes are compared with the weights before any memory is taken."""
    with limit_growth(weights, card.id):
        plan = build_on_meta(lambda: build_network(card.architecture))
        if plan is not None:
            is_whole = can_assign(plan)
            _load_strictly(plan, _convert_as_in(plan, weights), card.id, assign=True)
            if is_whole:
                return plan
        network = build_network(card.architecture)
    load_weights_strictly(network, weights, card.id)
    return network


def _convert_as_in(network: nn.Module, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return weights in the types of a network, aligned as PyTorch aligns them: a CPU may round otherwise if not."""
    types = {name: tensor.dtype for name, tensor in network.state_dict().items()}
    typed = {name: tensor.to(types.get(name, tensor.dtype)) for name, tensor in weights.items()}
    return {name: tensor.clone() if tensor.data_ptr() % _ALIGNMENT else tensor for name, tensor in typed.items()}


def _load_strictly(module: nn.Module, weights: dict[str, Tensor], source: str, *, assign: bool) -> None:
    try:
        if assign:
            module.load_state_dict(weights, assign=True)
        else:
            module.load_state_dict(weights)  # strict by default; some encoders have no more options and drop keys
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise MedSegError(
            f"the weights of {source} do not fit {type(module).__name__}: {reason}. "
            "Use the architecture that they were trained with."
        ) from error


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise MedSegError(f"cannot read {path}: {get_reason(error)}. Install the model again.") from error


def _parse_weights(data: bytes, path: Path) -> dict[str, Tensor]:
    try:
        weights: dict[str, Tensor] = load(data)
    except SafetensorError as error:
        raise MedSegError(f"{path} is no safetensors file: {error}. Only safetensors files are supported.") from error
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in weights.items()}


def _convert_to_half(tensor: Tensor) -> Tensor:
    """Convert kernels to fp16 to halve the file; vectors stay fp32, because the variance of a norm can underflow."""
    tensor = tensor.detach().cpu().contiguous()
    if tensor.ndim < 2 or tensor.dtype != torch.float32:
        return tensor
    half = tensor.half()
    return half if bool(torch.isfinite(half).all()) else tensor
