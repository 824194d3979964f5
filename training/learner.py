"""Training of a network: one step, the moving average of the weights, and the candidate for validation."""

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_medseg.inference.device import CPU, free_cached_memory, is_full
from napari_medseg.networks.lora import apply_lora, merge_lora
from napari_medseg.networks.model_files import load_weights_strictly
from napari_medseg.networks.precision import choose_memory_format, make_autocast
from training.augmentation.mixing import Mixer, build_mixer
from training.data.unlabelled import TwoViews
from training.distributed import RANK_SEED_STRIDE, RankContext
from training.losses.composite import CompositeLoss, Targets, build_loss
from training.losses.consistency import make_lesson
from training.optimisers import build_optimiser
from training.recipe import Recipe

AVERAGE_WARM_UP_STEPS = 10
SEED_STRIDE = 1_000_003


@dataclass
class Learner:
    """Network, optimiser and loss of a run, or of one of its stages.

    Parameters
    ----------
    recipe
        Settings of the training.
    network
        The network in training.
    parent
        The version that the run started from; never changed.
    average
        Network with the exponential moving average of the weights; `None` if the recipe has none.
    optimiser, loss, device
        Optimiser, loss and training device.
    mixer
        Mixes the patches of a batch with each other, on the device.
    rank_context
        The processes that train together.
    n_parts
        Number of parts in which a batch passes through the network, at first `accumulate` of the recipe. It doubles if
        memory runs out; the step stays the same. Parts have two images at least where batch normalisation is trained.
    last_step_s
        Duration of the last step in seconds.
    """

    recipe: Recipe
    network: nn.Module
    parent: nn.Module
    average: nn.Module | None
    optimiser: torch.optim.Optimizer
    loss: CompositeLoss
    device: torch.device
    mixer: Mixer
    rank_context: RankContext
    n_parts: int
    last_step_s: float = field(default=0.0)

    @classmethod
    def from_parent(
        cls,
        parent: nn.Module,
        recipe: Recipe,
        device: torch.device,
        class_weights: Tensor | None = None,
        rank_context: RankContext | None = None,
    ) -> "Learner":
        """Make a learner whose network is a copy of the parent; `class_weights` (classes,) if the recipe has any."""
        rank_context = rank_context or RankContext()
        parent = parent.to(device=device).eval()
        network, average = _make_trainable(parent, parent.state_dict(), recipe, device)
        loss = build_loss(recipe, class_weights).to(device)
        optimiser = build_optimiser(network, recipe, loss.parameters())
        mixer = replace(build_mixer(recipe), seed=recipe.run.seed + RANK_SEED_STRIDE * rank_context.rank)
        n_parts = recipe.optimiser.accumulate
        return cls(recipe, network, parent, average, optimiser, loss, device, mixer, rank_context, n_parts)

    @property
    def learning_rate(self) -> float:
        """Learning rate of the last step, without the factor for the encoder."""
        return float(self.optimiser.param_groups[0]["lr"])

    def restart_from(self, weights: Mapping[str, Tensor]) -> None:
        """Load other weights, with the names of the parent's, and reset the state of the optimiser."""
        self.network, self.average = _make_trainable(self.parent, weights, self.recipe, self.device)
        self.optimiser = build_optimiser(self.network, self.recipe, self.loss.parameters())

    def step(
        self,
        batch: tuple[Tensor, Tensor],
        step: int,
        rate_factor: float,
        n_replayed: int = 0,
        progress: float = 0.0,
        views: TwoViews | None = None,
    ) -> float | None:
        """Train on one batch.

        Parameters
        ----------
        batch
            Patches (n, c, h, w) float32 and labels (n, h, w) int64.
        step
            Counted over the whole run from 0; also the seed of random layers (dropout).
        rate_factor
            Factor of the recipe's learning rates, from the schedule, in [0, 1].
        n_replayed
            Number of patches at the start of the batch that are replayed older data, for distillation from the parent.
        progress
            Completed share of the stage, in [0, 1], for the schedules of loss weights.
        views
            Two views of unlabelled patches (m, c, h, w), for consistency training.

        Returns
        -------
        float or None
            The loss; `None` if it was not finite. Then the batch was skipped.
        """
        began, n_labelled = time.monotonic(), len(batch[0])
        self._set_train_mode()
        self._set_rate(rate_factor)
        self.n_parts = min(self.n_parts, self._count_most_parts(n_labelled))
        measured = [buffer.clone() for buffer in self.network.buffers()]
        images = batch[0].to(self.device, memory_format=choose_memory_format(self.device))
        images, truth = self.mixer.mix(images, batch[1].to(self.device), step, n_replayed)
        lesson = None if views is None else make_lesson(self.average, views, self.recipe, step, self.n_parts)

        def loss_of(said: Tensor) -> Tensor:
            loss = self._compute_loss(said[:n_labelled], truth, images[:n_replayed], progress)
            return loss + lesson.compute_loss(said[n_labelled:], progress) if lesson else loss

        shown = images if lesson is None else torch.cat([images, lesson.images])
        while (loss := self._compute_gradients_if_they_fit(shown, loss_of, step)) is None:
            _restore_buffers(self.network, measured)
        loss = self.rank_context.average_scalar(loss)
        learning = [parameter for group in self.optimiser.param_groups for parameter in group["params"]]
        self.rank_context.average_gradients(learning)
        # Gradients of loss weights are as large as the losses. Clipped together, the network would get almost none.
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.optimiser.max_gradient_norm)
        finite = bool(torch.isfinite(loss)) and bool(torch.isfinite(norm))
        if finite:
            self.optimiser.step()
            self._update_average(step)
        else:
            _restore_buffers(self.network, measured)  # batch normalisation has seen the non-finite batch, too
        self.last_step_s = time.monotonic() - began
        return float(loss) if finite else None

    @torch.no_grad()
    def make_candidate(self) -> nn.Module:
        """Return the current candidate for the new version, a plain network in evaluation mode.

        It is the moving average if there is one, averaged with the parent by `average_with_parent`. A linear mix of
        weights keeps more of the parent's abilities than the last weights (Wortsman et al., Robust fine-tuning of
        zero-shot models, CVPR 2022).
        """
        learning = [self.network, self.average] if self.average is not None else [self.network]
        self.rank_context.average([buffer for network in learning for buffer in network.buffers()])
        kept = copy.deepcopy(self.parent).to(memory_format=choose_memory_format(self.device))
        kept.load_state_dict(merge_lora(learning[-1]))
        share = self.recipe.fine_tuning.average_with_parent
        if share:
            old = self.parent.state_dict()
            for name, tensor in kept.state_dict().items():
                if tensor.is_floating_point():
                    tensor.lerp_(old[name], share)
        return kept

    def free_memory(self) -> None:
        """Give the memory of the device back at the end of the training: no further step is possible."""
        self.optimiser.zero_grad(set_to_none=True)
        self.optimiser.state.clear()
        for module in (self.network, self.parent, self.average, self.loss):
            if module is not None:
                module.to(CPU)
        free_cached_memory(self.device)

    def _compute_gradients_if_they_fit(
        self, images: Tensor, loss_of: Callable[[Tensor], Tensor], step: int
    ) -> Tensor | None:
        """Return the loss and store the gradients; if memory runs out, return `None` after doubling `n_parts`."""
        self.optimiser.zero_grad(set_to_none=True)
        try:
            return self._compute_gradients(images, loss_of, step)
        except (RuntimeError, MemoryError) as error:
            if not is_full(self.device, error) or self.n_parts >= self._count_most_parts(len(images)):
                raise
        free_cached_memory(self.device)  # here, because the error references the tensors
        self.n_parts = min(2 * self.n_parts, self._count_most_parts(len(images)))
        return None

    def _count_most_parts(self, n_images: int) -> int:
        """Return the largest number of parts of a batch, never less than the recipe's; see `_set_train_mode`.

        Batch normalisation in training needs two images: a pooled branch (DeepLab, PAN, UPerNet) has one value of each.
        """
        trains_batch_norm = any(
            isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training for module in self.network.modules()
        )
        return max(self.recipe.optimiser.accumulate, n_images // 2 if trains_batch_norm else n_images)

    def _compute_gradients(self, images: Tensor, loss_of: Callable[[Tensor], Tensor], step: int) -> Tensor:
        """Return the loss of a batch and store its gradients in the parameters.

        With gradient accumulation, the batch passes through the network twice: first to get all logits, so that a loss
        pooled over the batch, such as Dice, is computed for the whole batch; then part by part for the gradients (Gao
        et al., Scaling deep contrastive learning batch size under memory limited setup, 2021).
        """
        n_parts = self.n_parts
        if n_parts == 1:
            loss = loss_of(self._compute_logits(images, step))
            loss.backward()  # type: ignore[no-untyped-call]
            return loss.detach()
        parts = [torch.arange(first, len(images), n_parts, device=self.device) for first in range(n_parts)]
        measured = [buffer.clone() for buffer in self.network.buffers()]
        with torch.no_grad():
            said = [self._compute_logits(images[part], step, index) for index, part in enumerate(parts)]
        _restore_buffers(self.network, measured)
        logits = torch.cat(said)[torch.cat(parts).argsort()].requires_grad_()
        loss = loss_of(logits)
        loss.backward()  # type: ignore[no-untyped-call]
        assert logits.grad is not None
        for index, part in enumerate(parts):
            self._compute_logits(images[part], step, index).backward(logits.grad[part])  # type: ignore[no-untyped-call]
        return loss.detach()

    def _compute_logits(self, images: Tensor, step: int, part: int = 0) -> Tensor:
        torch.manual_seed(
            self.recipe.run.seed * SEED_STRIDE + step + (self.rank_context.rank + part * self.rank_context.size) * 2**32
        )
        with make_autocast(self.device, self.recipe.run.precision):
            logits: Tensor = self.network(images)
        return logits

    def _set_rate(self, factor: float) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = group["full_rate"] * factor

    def _compute_loss(self, logits: Tensor, truth: Targets, replayed: Tensor, progress: float) -> Tensor:
        """Return the loss of labelled patches; the first ones are replayed, and kept near the parent's prediction."""
        loss: Tensor = self.loss(logits, truth, progress)
        if self.recipe.fine_tuning.distillation and len(replayed):
            distance = self._compute_distillation_loss(replayed, logits[: len(replayed)])
            loss = loss + self.recipe.fine_tuning.distillation * distance
        return loss

    def _compute_distillation_loss(self, images: Tensor, logits: Tensor) -> Tensor:
        """Return the Kullback-Leibler divergence from the parent's prediction (Li & Hoiem, ECCV 2016)."""
        with torch.no_grad(), make_autocast(self.device, self.recipe.run.precision):
            taught = torch.cat([self.parent(part) for part in images.chunk(self.n_parts)])
        wanted = functional.log_softmax(taught.float(), dim=1)
        found = functional.log_softmax(logits.float(), dim=1)
        return functional.kl_div(found, wanted, reduction="none", log_target=True).sum(dim=1).mean()

    def _set_train_mode(self) -> None:
        """Set training mode, except for batch normalisation that is frozen by the recipe or with its encoder stage."""
        self.network.train()
        freezes_all = self.recipe.fine_tuning.freeze_batch_norm
        for module in self.network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                is_frozen = module.affine and not module.weight.requires_grad  # with its stage, or its encoder
                if freezes_all or is_frozen:  # few images would give poor statistics
                    module.eval()

    @torch.no_grad()
    def _update_average(self, step: int) -> None:
        if self.average is None:
            return
        decay = min(self.recipe.optimiser.ema_decay, (1 + step) / (AVERAGE_WARM_UP_STEPS + step))
        new = self.network.state_dict()
        for name, tensor in self.average.state_dict().items():
            if tensor.is_floating_point():
                tensor.lerp_(new[name], 1.0 - decay)
            else:
                tensor.copy_(new[name])


def _make_trainable(
    parent: nn.Module, weights: Mapping[str, Tensor], recipe: Recipe, device: torch.device
) -> tuple[nn.Module, nn.Module | None]:
    """Return the network to train and its moving average; both start from `weights`."""
    network = copy.deepcopy(parent)
    load_weights_strictly(network, dict(weights), "the run")
    if recipe.fine_tuning.low_rank:
        apply_lora(network, recipe.fine_tuning.low_rank, recipe.run.seed)
    average = copy.deepcopy(network) if recipe.optimiser.ema_decay else None
    return network.to(memory_format=choose_memory_format(device)), average


def _restore_buffers(network: nn.Module, measured: Sequence[Tensor]) -> None:
    for buffer, old in zip(network.buffers(), measured, strict=True):
        buffer.copy_(old)
