"""Processor time of everything that handles numbered objects, for 100,000 nuclei on a picture of 8,000 px square.

The time must follow the pixels of the objects, not objects x picture: each outline, mask and check works in the
bounding box of its object, or in one pass over the picture.

    python benchmarks/many_objects.py
"""

import resource
import sys
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.image import Image
from napari_medseg.core.model_card import InstanceSeparation
from napari_medseg.core.outlines.objects import AnnotatedObject, RunLengths, rasterise_labels
from napari_medseg.core.quality.instance_metrics import compute_object_scores
from napari_medseg.core.quality.label_checks import check_labels
from napari_medseg.core.quality.measurements import measure_labels
from napari_medseg.core.tasks.bundled_tasks import get_task
from napari_medseg.inference.watershed import separate_objects
from training.data.instance_targets import compute_depth_classes
from training.losses.boundary import compute_gap_weights

SIDE_PX = 8_000
CELL_PX = 25
RADIUS_PX = 11
LEVELS = (0.001, 0.3, 0.6)


def main() -> None:
    """Print the processor time of each step, and the largest memory of the process so far."""
    labels = make_labels()
    image, task = Image(np.zeros(labels.shape, np.uint8), "YX"), get_task("nuclei")
    outlines, masks = make_outlines(), make_masks()
    depth = (np.minimum(labels, 1) * 100).astype(np.uint8)
    steps: dict[str, Callable[[], object]] = {
        "outlines (COCO, Aperio) to labels": lambda: rasterise_labels(outlines, labels.shape, None),
        "run lengths (COCO) to labels": lambda: rasterise_labels(masks, labels.shape, None),
        "checks at Accept": lambda: check_labels(labels, task, image),
        "scores of objects": lambda: compute_object_scores(labels, np.roll(labels, 3, 0)),
        "measurements": lambda: measure_labels(labels, image, task),
        "training targets": lambda: compute_depth_classes(labels, LEVELS),
        "gap weights of the loss, 2,000 px": lambda: _weigh_gaps(labels[:2000, :2000]),
        "separation by watershed": lambda: separate_objects(labels > 0, depth, InstanceSeparation(levels=LEVELS)),
    }
    wanted = sys.argv[1:]
    for name, step in steps.items():
        if not wanted or any(word in name for word in wanted):
            began = time.process_time()
            step()
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
            print(f"{name:<36}{time.process_time() - began:>7.1f} s{peak:>8.0f} MB", flush=True)


def make_labels() -> NDArray[np.uint32]:
    """Return 102,400 numbered discs."""
    half = CELL_PX // 2
    disc = np.hypot(*np.mgrid[-half : half + 1, -half : half + 1]) < RADIUS_PX
    per_side = SIDE_PX // CELL_PX
    numbers = np.arange(1, per_side**2 + 1, dtype=np.uint32).reshape(per_side, per_side)
    return np.kron(numbers, disc.astype(np.uint32))


def make_outlines() -> list[AnnotatedObject]:
    """Return the discs as polygons of 30 corners."""
    angles = np.linspace(0, 2 * np.pi, 30, endpoint=False)
    circle = RADIUS_PX * np.stack([np.sin(angles), np.cos(angles)], axis=1)
    centres = np.arange(CELL_PX / 2, SIDE_PX, CELL_PX)
    return [AnnotatedObject("nucleus", (circle + np.array([y, x]),)) for y in centres for x in centres]


def make_masks() -> list[AnnotatedObject]:
    """Return squares as run lengths of the whole picture."""
    masks = []
    for top in range(0, SIDE_PX, CELL_PX):
        for left in range(0, SIDE_PX, CELL_PX):
            runs = np.full(2 * RADIUS_PX * 2 + 1, SIDE_PX - RADIUS_PX * 2, np.int64)
            runs[1::2] = RADIUS_PX * 2
            runs[0] = left * SIDE_PX + top
            runs[-1] = SIDE_PX**2 - int(runs[:-1].sum())
            masks.append(AnnotatedObject("nucleus", run_lengths=RunLengths((SIDE_PX, SIDE_PX), runs)))
    return masks


def _weigh_gaps(labels: NDArray[np.uint32]) -> object:
    import torch

    return compute_gap_weights(torch.from_numpy((labels > 0).astype(np.int64))[None], 3.0, 0)


if __name__ == "__main__":
    main()
