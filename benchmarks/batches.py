"""Time to augment a batch: drawing its patches, then augmenting them one by one and all at once.

Both ways do the same work: 256 x 256 patches with four augmentation presets. If there is a GPU, each is measured on it
too. With a GPU a separate thread draws the patches, so the time of the drawing is listed separately.

    python benchmarks/batches.py --repeats 20
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from napari_medseg.core.model_card import Preprocessing
from training.augmentation.patch_batch import PatchSpec
from training.augmentation.presets import get_augmentation
from training.augmentation.spatial import Augmenter

PATCH_PX, N_PATCHES = 256, 8
PLANES = {"chest": (1, 512, 512), "ct_rich": (1, 512, 512), "histology": (3, 1000, 1000), "endoscopy": (3, 540, 960)}


def make_random_plane(shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return random grey values and two rectangles with labels."""
    labels = np.zeros(shape[1:], np.uint8)
    rows, columns = shape[1:]
    labels[rows // 4 : rows // 2, columns // 8 : columns // 2] = 1
    labels[rows // 4 : rows // 2, columns // 2 : -columns // 8] = 2
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float16), labels


def time_call_ms(work: Callable[[], object], device: torch.device) -> float:
    """Return how long it takes until the device has done it."""
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - began)


def measure_augmentation(name: str, device: torch.device, repeats: int) -> tuple[float, float, float]:
    """Return the medians of drawing, and of making the patches alone and together, in turn."""
    augmenter = Augmenter(get_augmentation(name), Preprocessing(), PATCH_PX, (1, 2))
    plane, labels = make_random_plane(PLANES[name])
    rows = []
    for seed in range(-2, repeats):
        rng = np.random.default_rng(seed + 2)
        drawn: list[PatchSpec] = []
        drawing = time_call_ms(
            lambda rng=rng, drawn=drawn: drawn.extend(
                augmenter.sample_patch(plane, labels, rng) for _ in range(N_PATCHES)
            ),
            torch.device("cpu"),
        )
        alone = time_call_ms(
            lambda drawn=drawn: [augmenter.collate([patch], 0).to(device).make_patches() for patch in drawn], device
        )
        together = time_call_ms(lambda drawn=drawn: augmenter.collate(drawn, 0).to(device).make_patches(), device)
        if seed >= 0:  # the first ones warm up
            rows.append((drawing, alone, together))
    drawing, alone, together = (statistics.median(column) for column in zip(*rows, strict=True))
    return drawing, alone, together


def main() -> None:
    """Print a row for each set and device."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    devices = ["cpu"] + ["cuda"] * torch.cuda.is_available()
    print(f"{N_PATCHES} patches of {PATCH_PX} px, median of {options.repeats}, {options.threads} threads, ms")
    print(f"{'set':<12}{'device':<8}{'drawn':>8}{'alone':>9}{'together':>10}{'alone / together':>18}")
    for device in devices:
        for name in PLANES:
            drawing, alone, together = measure_augmentation(name, torch.device(device), options.repeats)
            print(f"{name:<12}{device:<8}{drawing:>8.1f}{alone:>9.1f}{together:>10.1f}{alone / together:>18.2f}")


if __name__ == "__main__":
    main()
