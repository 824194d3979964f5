"""Optimisers, frozen parameters, and learning rates of parameter groups."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from napari_medseg.core.errors import MedSegError, look_up
from training.recipe import OptimiserSettings, Recipe

MOMENTUM = 0.9
LOSS_WEIGHT_RATE_FACTOR = 10.0
"""Factor of the learning rate for trainable loss weights, which have to change much in a short run."""
PROBE_PX = 64

ParameterGroups = list[dict[str, Any]]
OptimiserFactory = Callable[[ParameterGroups, OptimiserSettings], Optimizer]

OPTIMISERS: dict[str, OptimiserFactory] = {
    "adamw": lambda groups, settings: AdamW(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay),
    "adam": lambda groups, settings: Adam(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay),
    "sgd": lambda groups, settings: SGD(
        groups, lr=settings.learning_rate, weight_decay=settings.weight_decay, momentum=MOMENTUM, nesterov=True
    ),
    "rmsprop": lambda groups, settings: RMSprop(
        groups, lr=settings.learning_rate, weight_decay=settings.weight_decay, momentum=MOMENTUM
    ),
}


def build_optimiser(network: nn.Module, recipe: Recipe, loss_weights: Iterable[nn.Parameter] = ()) -> Optimizer:
    """Freeze the parameters that the recipe freezes, and return the optimiser of the others.

    The learning rate of the encoder is multiplied by `encoder_rate_factor`; 0 freezes it. Trainable loss weights have a
    higher rate and no weight decay, because 0 is not a meaningful value for them.

    Raises
    ------
    MedSegError
        If the recipe names an unknown optimiser, or more stages than the encoder has.
    """
    settings = recipe.optimiser
    look_up(OPTIMISERS, settings.name, "optimiser")
    if recipe.fine_tuning.freeze_encoder_stages:
        freeze_stages(network, recipe.fine_tuning.freeze_encoder_stages)
    encoder = [parameter for name, parameter in network.named_parameters() if _is_encoder_parameter(name)]
    rest = [parameter for name, parameter in network.named_parameters() if not _is_encoder_parameter(name)]
    if not settings.encoder_rate_factor:
        for parameter in encoder:
            parameter.requires_grad_(False)
    pairs = [(rest, 1.0), (encoder, settings.encoder_rate_factor)]
    groups: ParameterGroups = [_make_group(parameters, settings.learning_rate * factor) for parameters, factor in pairs]
    groups.append({**_make_group(loss_weights, settings.learning_rate * LOSS_WEIGHT_RATE_FACTOR), "weight_decay": 0.0})
    return OPTIMISERS[settings.name]([group for group in groups if group["params"]], settings)


def freeze_stages(network: nn.Module, n_stages: int) -> None:
    """Freeze the first `n_stages` stages of the encoder.

    A stage ends where the encoder passes a feature map to the decoder. Its parameters are those with a gradient from
    this feature map, so that this works for every encoder.

    Raises
    ------
    MedSegError
        If the network has no encoder with that many stages.
    """
    encoder = getattr(network, "encoder", None)
    if not isinstance(encoder, nn.Module):
        raise MedSegError(f"{type(network).__name__} has no encoder to freeze. Set freeze_encoder_stages to 0.")
    parameters = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
    kernel = next(parameter for parameter in encoder.parameters() if parameter.ndim == 4)
    was_training = encoder.training
    encoder.eval()
    images = torch.zeros(1, kernel.shape[1], PROBE_PX, PROBE_PX, device=kernel.device)
    features = getattr(network, "encoder_features", encoder)(images)
    encoder.train(was_training)
    for used in _find_stage_parameters(features, parameters, n_stages):
        used.requires_grad_(False)


def _find_stage_parameters(
    features: Sequence[Tensor], parameters: list[nn.Parameter], n_stages: int
) -> list[nn.Parameter]:
    """Return the parameters of the first feature maps; many encoders return the image itself as the first one."""
    stages = features if features[0].requires_grad else features[1:]
    if n_stages > len(stages):
        raise MedSegError(
            f"the encoder has {len(stages)} stages, but freeze_encoder_stages is {n_stages}. Freeze fewer."
        )
    used: list[nn.Parameter] = []
    for feature in stages[:n_stages]:
        if feature.requires_grad:
            found = torch.autograd.grad(feature.sum(), parameters, retain_graph=True, allow_unused=True)
            used += [parameter for parameter, gradient in zip(parameters, found, strict=True) if gradient is not None]
    return used


def _make_group(parameters: Iterable[nn.Parameter], full_rate: float) -> dict[str, Any]:
    return {"params": [parameter for parameter in parameters if parameter.requires_grad], "full_rate": full_rate}


def _is_encoder_parameter(name: str) -> bool:
    """Return whether the name is that of an encoder parameter, also in a member of an ensemble."""
    return name.startswith("encoder.") or ".encoder." in name
