"""A network that learns: one step, its running average, and the candidate that is judged and kept."""

import copy
import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.mixing import Mixer, mixer_of
from training.objective import Objective, objective_of
from training.recipe import Recipe

MAX_GRADIENT_NORM = 5.0
AVERAGE_WARM_UP_STEPS = 10
LOSS_WEIGHT_RATE_FACTOR = 10.0
"""Of the learning rate, for trainable weights of losses: a few numbers that have to go far in a short run."""


@dataclass
class Learner:
    """Network, optimiser and loss of a run.

    Parameters
    ----------
    recipe
        How to learn.
    network
        In training; it starts as the parent.
    parent
        The version that the run started from; never changed.
    average
        Exponential moving average of the weights, or `None` where the recipe has none.
    optimiser, loss, device
        As their names say.
    mixer
        Mixes the patches of a batch with each other, on the device.
    last_step_s
        Seconds that the last step took.
    """

    recipe: Recipe
    network: nn.Module
    parent: nn.Module
    average: nn.Module | None
    optimiser: torch.optim.Optimizer
    loss: Objective
    device: torch.device
    mixer: Mixer
    last_step_s: float = field(default=0.0)

    @classmethod
    def starting_from(
        cls, parent: nn.Module, recipe: Recipe, device: torch.device, class_weights: Tensor | None = None
    ) -> "Learner":
        """Make a learner whose network is a copy of the parent; `class_weights` (classes,) where the recipe has any."""
        parent = parent.to(device=device).eval()
        network = copy.deepcopy(parent).to(memory_format=torch.channels_last)
        average = copy.deepcopy(parent) if recipe.ema_decay else None
        objective = objective_of(recipe, class_weights).to(device)
        optimiser = _optimiser(network, objective, recipe)
        return cls(recipe, network, parent, average, optimiser, objective, device, mixer_of(recipe))

    def step(
        self,
        batch: tuple[Tensor, Tensor],
        step: int,
        rate_factor: float,
        n_replayed: int = 0,
        progress: float = 0.0,
    ) -> float | None:
        """Learn from one batch.

        Parameters
        ----------
        batch
            Patches (n, c, h, w) float32 and labels (n, h, w) int64.
        step
            Counted over the whole run from 0; seeds what a network draws by itself (dropout).
        rate_factor
            Of the recipe's learning rates, from the schedule.
        n_replayed
            How many patches at the front of the batch are replayed older data, on which the parent is the teacher.
        progress
            Share of the run that is over, in [0, 1], for the schedules of loss weights.

        Returns
        -------
        float or None
            The loss; `None` where it was not finite: then nothing was learnt from this batch.
        """
        began = time.monotonic()
        torch.manual_seed(self.recipe.seed * 1_000_003 + step)
        self._set_training()
        for group in self.optimiser.param_groups:
            group["lr"] = group["full_rate"] * rate_factor
        images, labels = batch
        images = images.to(self.device, memory_format=torch.channels_last)
        images, truth = self.mixer.mixed(images, labels.to(self.device), step, n_replayed)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16"):
            logits = self.network(images)
        loss = self.loss(logits, truth, progress)
        if self.recipe.distillation and n_replayed:
            loss = loss + self.recipe.distillation * self._distance_to_parent(images[:n_replayed], logits[:n_replayed])
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), MAX_GRADIENT_NORM)
        finite = bool(torch.isfinite(loss)) and bool(torch.isfinite(norm))
        if finite:
            self.optimiser.step()
            self._update_average(step)
        self.last_step_s = time.monotonic() - began
        return float(loss.detach()) if finite else None

    @torch.no_grad()
    def candidate(self) -> nn.Module:
        """Return the network that would be kept now, in evaluation mode.

        The average of the run where there is one, mixed with the parent by `recipe.average_with_parent`: a straight
        mix of weights keeps more of what the parent knew than the end of the run does (Wortsman et al., Robust
        fine-tuning of zero-shot models, CVPR 2022).
        """
        kept = copy.deepcopy(self.average if self.average is not None else self.network).eval()
        share = self.recipe.average_with_parent
        if share:
            old = self.parent.state_dict()
            for name, tensor in kept.state_dict().items():
                if tensor.is_floating_point():
                    tensor.lerp_(old[name], share)
        return kept

    def _distance_to_parent(self, images: Tensor, logits: Tensor) -> Tensor:
        """Kullback-Leibler divergence from what the parent says (Li & Hoiem, Learning without Forgetting, 2016)."""
        with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16"):
            taught = self.parent(images)
        wanted = functional.log_softmax(taught.float(), dim=1)
        found = functional.log_softmax(logits.float(), dim=1)
        return functional.kl_div(found, wanted, reduction="none", log_target=True).sum(dim=1).mean()

    def _set_training(self) -> None:
        self.network.train()
        if self.recipe.freeze_batch_norm:  # a handful of images would spoil what thousands have measured
            for module in self.network.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()

    @torch.no_grad()
    def _update_average(self, step: int) -> None:
        if self.average is None:
            return
        decay = min(self.recipe.ema_decay, (1 + step) / (AVERAGE_WARM_UP_STEPS + step))
        new = self.network.state_dict()
        for name, tensor in self.average.state_dict().items():
            if tensor.is_floating_point():
                tensor.lerp_(new[name], 1.0 - decay)
            else:
                tensor.copy_(new[name])


def _optimiser(network: nn.Module, objective: Objective, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW; the encoder learns at its own share of the rate, not at all where that is 0; loss weights at theirs."""
    encoder_ids = {id(parameter) for parameter in getattr(network, "encoder", nn.Module()).parameters()}
    encoder = [parameter for parameter in network.parameters() if id(parameter) in encoder_ids]
    rest = [parameter for parameter in network.parameters() if id(parameter) not in encoder_ids]
    groups: list[dict[str, Any]] = [{"params": rest, "full_rate": recipe.learning_rate}]
    if recipe.encoder_rate_factor and encoder:
        groups.append({"params": encoder, "full_rate": recipe.learning_rate * recipe.encoder_rate_factor})
    else:
        for parameter in encoder:
            parameter.requires_grad_(False)
    if loss_weights := list(objective.parameters()):
        rate = recipe.learning_rate * LOSS_WEIGHT_RATE_FACTOR
        groups.append({"params": loss_weights, "full_rate": rate, "weight_decay": 0.0})
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
