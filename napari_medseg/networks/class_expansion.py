"""Add classes to a network: old classes keep their weights, new classes start with a low probability."""

import torch
from torch import Tensor, nn

from napari_medseg.core.model_card import ModelCard
from napari_medseg.networks.architectures import build_network

NEW_CLASS_LOGIT_MARGIN = 4.0
"""How far the initial logit of a new class is below the background's logit."""


def expand_classes(network: nn.Module, card: ModelCard, n_classes: int) -> tuple[nn.Module, ModelCard]:
    """Return a network with `n_classes` classes that gives the same logits for the old ones, and its card.

    A new class gets the background's weights and a bias that keeps it unlikely, so that labels change by training
    only. Nothing is done where there are that many classes already.

    Parameters
    ----------
    network
        Maps (n, c, h, w) to logits (n, `card.architecture.classes`, h, w). It is not changed.
    card
        Of the network.
    n_classes
        Labels and background.

    Returns
    -------
    network, card
        It maps (n, c, h, w) to logits (n, n_classes, h, w), in evaluation mode.
    """
    n_before = card.architecture.classes
    if n_classes <= n_before:
        return network, card
    architecture = card.architecture.model_copy(update={"classes": n_classes})
    grown = build_network(architecture)
    known = network.state_dict()
    state = {name: _expand_tensor(known[name], tensor, n_before) for name, tensor in grown.state_dict().items()}
    grown.load_state_dict(state)
    return grown.eval(), card.model_copy(update={"architecture": architecture})


def _expand_tensor(old: Tensor, new: Tensor, n_before: int) -> Tensor:
    if old.shape == new.shape:
        return old
    result = torch.empty_like(new)
    result[:n_before] = old
    result[n_before:] = old[0] - (NEW_CLASS_LOGIT_MARGIN if old.ndim == 1 else 0.0)
    return result
