"""Consistency training on images without labels.

The moving average of the network labels the weak view of a patch, where it is certain enough. The network learns these
labels on the strong view of the same patch. This is FixMatch (Sohn et al., NeurIPS 2020) for pixels, with CutMix of
strong views, as in UniMatch (Yang et al., Revisiting weak-to-strong consistency in semi-supervised semantic
segmentation, CVPR 2023), and with a mean teacher (Tarvainen & Valpola, NeurIPS 2017).
"""

import torch
from torch import Tensor
from torch.nn import functional

from napari_medseg.core.snapshot import IGNORE_INDEX


def make_pseudo_labels(logits: Tensor, threshold: float) -> Tensor:
    """Return the most probable class of each pixel, or `IGNORE_INDEX` where its probability is below the threshold.

    Parameters
    ----------
    logits
        (n, classes, h, w) of the weak view.
    threshold
        Probability in (0, 1).

    Returns
    -------
    Tensor
        (n, h, w), int64.
    """
    probability, label = torch.softmax(logits.float(), dim=1).max(dim=1)
    return label.masked_fill(probability < threshold, IGNORE_INDEX)


def consistency_loss(logits: Tensor, pseudo_labels: Tensor) -> Tensor:
    """Return the cross-entropy of the strong view against its pseudo-labels; uncertain pixels count as 0 in the mean.

    So the loss is small while the teacher is certain of few pixels.

    Parameters
    ----------
    logits
        (n, classes, h, w) of the strong view.
    pseudo_labels
        (n, h, w), int64, from `make_pseudo_labels`.
    """
    costs = functional.cross_entropy(logits.float(), pseudo_labels, ignore_index=IGNORE_INDEX, reduction="none")
    return costs.mean()


def compute_ramp(progress: float, ramp: float) -> float:
    """Return the factor of the loss at a completed share of the run: from 0 to 1 over the share `ramp`, then 1.

    It rises as in Laine & Aila, Temporal ensembling, ICLR 2017.
    """
    if progress >= ramp:
        return 1.0
    return float(torch.exp(torch.tensor(-5.0 * (1.0 - progress / ramp) ** 2)))
