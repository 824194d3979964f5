"""What chooses between networks of one run: the mean Dice on planes that they do not learn from."""

import statistics
from collections.abc import Sequence
from itertools import groupby

import numpy as np
import torch
from torch import nn

from napari_medseg.core.metrics import per_label_dice
from napari_medseg.core.snapshots import IGNORED
from training.dataset import LabelledPlane

MAX_PLANES_AT_ONCE = 8


@torch.no_grad()
def validate(network: nn.Module, planes: Sequence[LabelledPlane], precision: str) -> float:
    """Mean Dice over planes and the network's classes but background, on its own grid, without postprocessing."""
    device = next(network.parameters()).device
    scores: list[float] = []
    for _, same_shape in groupby(sorted(planes, key=_shape), key=_shape):
        alike = list(same_shape)
        for first in range(0, len(alike), MAX_PLANES_AT_ONCE):
            batch = alike[first : first + MAX_PLANES_AT_ONCE]
            images = torch.from_numpy(np.stack([plane.views[0] for plane in batch])).float()
            images = images.to(device, memory_format=torch.channels_last)
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                logits = network(images)
            predicted, values = logits.argmax(dim=1).cpu().numpy(), range(1, logits.shape[1])
            for labels, plane in zip(predicted, batch, strict=True):
                labels[plane.labels == IGNORED] = IGNORED
                scores.append(statistics.fmean(per_label_dice(labels, plane.labels, values).values()))
    return statistics.fmean(scores)


def _shape(plane: LabelledPlane) -> tuple[int, ...]:
    return plane.labels.shape
