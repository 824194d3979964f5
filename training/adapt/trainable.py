"""Which weights an adaptation changes: normalisation everywhere, and all that is not the encoder.

Normalisation layers are few weights that carry much of the difference between sources (Li et al., Adaptive batch
normalisation, Pattern Recognition 2018); the encoder's kernels stay, so that little is forgotten.
"""

import torch
from torch import nn

from training.learner import Learner

ENCODER_NORM_FACTOR = 0.3
"""Learning rate of the encoder's normalisation, as a share: the features that tell foreign images change little."""

_NORMALISATION = (
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.GroupNorm,
    nn.LayerNorm,
)


def train_norms_and_decoder(learner: Learner) -> None:
    """Freeze the kernels of the encoder, and give the learner an optimiser of all other weights."""
    rate = learner.recipe.optimiser.learning_rate
    norms = {
        parameter
        for module in learner.network.modules()
        if isinstance(module, _NORMALISATION)
        for parameter in module.parameters(recurse=False)
    }
    rest: list[nn.Parameter] = []
    of_encoder: list[nn.Parameter] = []
    for name, parameter in learner.network.named_parameters():
        is_encoder = name.startswith("encoder.") or ".encoder." in name
        parameter.requires_grad_(not is_encoder or parameter in norms)
        if parameter.requires_grad:
            (of_encoder if is_encoder else rest).append(parameter)
    pairs = [(rest, rate), (of_encoder, rate * ENCODER_NORM_FACTOR)]
    groups = [{"params": parameters, "full_rate": full} for parameters, full in pairs if parameters]
    learner.optimiser = torch.optim.AdamW(groups, lr=rate, weight_decay=learner.recipe.optimiser.weight_decay)
