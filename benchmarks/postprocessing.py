"""Time of postprocessing after the network, compared with cellpose's `compute_masks` and lungmask's `postprocessing`.

The data are 2,000 synthetic nuclei, in the form that each program expects (expected depth; flows and probability), and
a synthetic chest of 300 x 512 x 512 with specks, holes and a region of swapped labels. The two programs are no
dependencies. Install them anywhere, for example with `pip install --no-deps --target EXTRA cellpose lungmask fastremap
fill-voids roifile SimpleITK natsort segment_anything opencv-python-headless more-itertools`, then run

    python benchmarks/postprocessing.py --extra EXTRA --out postprocessing.json
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

import napari_medseg
from napari_medseg.core.model_card import InstanceSeparation, PostprocessingStep, read_card
from napari_medseg.core.quality.instance_metrics import compute_object_scores
from napari_medseg.core.quality.metrics import compute_dice_per_label
from napari_medseg.inference.postprocess import apply_postprocessing_step
from napari_medseg.inference.watershed import CORE_DEPTH, separate_objects
from training.data.instance_targets import compute_depth_classes

MODELS = Path(napari_medseg.__file__).parent / "models"
N_NUCLEI, SIDE_PX, PITCH_PX = 2000, 1400, 31
LUNG_SHAPE, LUNG_SPACING_MM = (300, 512, 512), (1.5, 0.7, 0.7)


def main() -> int:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--extra", type=Path, required=True, help="folder with cellpose and lungmask")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    sys.path.append(str(options.extra))
    rows = [*benchmark_nuclei(options.repeats), *benchmark_lungs(options.repeats)]
    print(f"{'input':10} {'program':12} {'seconds':>9} {'ratio':>7} {'agreement with the drawing':>28}")
    for row in rows:
        print(f"{row['input']:10} {row['program']:12} {row['seconds']:9.3f} {row['ratio']:7.3f} {row['agreement']:>28}")
    if options.out:
        options.out.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return 0


def benchmark_nuclei(repeats: int) -> list[dict[str, Any]]:
    """Compare with cellpose on its own flows."""
    from cellpose.dynamics import compute_masks, labels_to_flows

    truth = make_nuclei_phantom()
    numbers = read_card(MODELS / "nuclei-unet" / "2" / "card.json").instances or InstanceSeparation(levels=[0.0, 0.5])
    depth = compute_depth_classes(truth, numbers.levels) / len(numbers.levels) * CORE_DEPTH
    depth = ndimage.gaussian_filter(depth, 1.0).round().astype(np.uint8)  # as soft as a network's
    inside = truth > 0
    flows = 5.0 * labels_to_flows([truth.astype(np.int32)], device=torch.device("cpu"))[0][2:].astype(np.float32)
    probability = np.where(inside, 5.0, -5.0).astype(np.float32)
    contenders = {
        "napari-medseg": lambda: separate_objects(inside, depth, numbers),
        "cellpose": lambda: get_masks(compute_masks(flows, probability, niter=200)),
    }
    return compare_programs(
        "nuclei", contenders, repeats, lambda found: f"AJI {compute_object_scores(found, truth).aji:.3f}"
    )


def benchmark_lungs(repeats: int) -> list[dict[str, Any]]:
    """Compare with lungmask on the same raw labels."""
    from lungmask.utils import postprocessing

    truth, raw = make_lungs_phantom()
    steps: list[PostprocessingStep] = read_card(find_newest_version(MODELS / "lungs-unet") / "card.json").postprocessing

    def text(found: NDArray[Any]) -> str:
        dice = compute_dice_per_label(found, truth, (1, 2))
        return f"Dice {dice[1]:.4f} {dice[2]:.4f}"

    def postprocess() -> NDArray[Any]:
        labels = raw.copy()
        for step in steps:
            apply_postprocessing_step(labels, step, LUNG_SPACING_MM)
        return labels

    contenders = {
        "napari-medseg": postprocess,
        "lungmask": lambda: postprocessing(raw, disable_tqdm=True),
    }
    return compare_programs("lungs", contenders, repeats, text)


def compare_programs(
    name: str, contenders: dict[str, Callable[[], Any]], repeats: int, agreement: Callable[[Any], str]
) -> list[dict[str, Any]]:
    """Time the contenders in turn, and return a row for each; the ratio is relative to the other program."""
    seconds: dict[str, list[float]] = {program: [] for program in contenders}
    found = {}
    for _ in range(repeats):
        for program, contender in contenders.items():
            began = time.perf_counter()
            found[program] = contender()
            seconds[program].append(time.perf_counter() - began)
    medians = {program: statistics.median(times) for program, times in seconds.items()}
    other = list(medians.values())[1]
    return [
        {
            "input": name,
            "program": program,
            "seconds": medians[program],
            "ratio": medians[program] / other,
            "agreement": agreement(found[program]),
        }
        for program in contenders
    ]


def make_nuclei_phantom() -> NDArray[np.uint16]:
    """Ellipses on a jittered grid, many of which touch."""
    rng = np.random.default_rng(0)
    objects = np.zeros((SIDE_PX, SIDE_PX), np.uint16)
    rows, columns = np.indices((SIDE_PX, SIDE_PX), sparse=True)
    places = [(row, column) for row in range(16, SIDE_PX, PITCH_PX) for column in range(16, SIDE_PX, PITCH_PX)]
    for number, place in enumerate(places[:N_NUCLEI], start=1):
        row, column = place + rng.integers(-4, 5, 2)
        tall, wide = rng.uniform(9, 16, 2)
        box = np.s_[max(0, row - 18) : row + 18, max(0, column - 18) : column + 18]
        inside = ((rows[box[0]] - row) / tall) ** 2 + ((columns[:, box[1]] - column) / wide) ** 2 < 1
        objects[box][inside & (objects[box] == 0)] = number
    return objects


def make_lungs_phantom() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Two lungs that nearly touch, and the same with typical errors: specks, holes, a region of the other side."""
    rng = np.random.default_rng(0)
    z, y, x = np.ogrid[: LUNG_SHAPE[0], : LUNG_SHAPE[1], : LUNG_SHAPE[2]]
    truth = np.zeros(LUNG_SHAPE, np.uint8)
    for value, middle in ((1, 165), (2, 347)):
        truth[((z - 150) / 140.0) ** 2 + ((y - 256) / 150.0) ** 2 + ((x - middle) / 88.0) ** 2 < 1] = value
    raw = truth.copy()
    for value in (0, 1, 2):
        for _ in range(150):
            corner = [int(rng.integers(5, side - 10)) for side in LUNG_SHAPE]
            size = rng.integers(1, 6, 3)
            raw[tuple(slice(at, at + width) for at, width in zip(corner, size, strict=True))] = value
    raw[120:130, 230:270, 240:252] = 2
    return truth, raw


def find_newest_version(family: Path) -> Path:
    """Folder of a family's newest bundled version."""
    return max((folder for folder in family.iterdir() if folder.is_dir()), key=lambda folder: int(folder.name))


def get_masks(result: Any) -> Any:  # noqa: ANN401 -- cellpose returned a tuple in some versions
    """Return the masks."""
    return result[0] if isinstance(result, tuple) else result


if __name__ == "__main__":
    sys.exit(main())
