"""How much do corrections help? An oracle corrects 1, 2, 4, 8 and 16 chest X-rays; after each, the CT model retrains.

The bundled lungs model was trained on CT only, so X-rays of children are hard for it. The oracle's corrections are the
reference labels. Each retrain starts from the bundled version, in its own process, within its budget, with the bundled
CT sample replayed. Judged on X-rays of patients that no retrain saw, and on the CT hold-out of the model's card.

`python benchmarks/corrections.py --data ../shared/data --out docs`
"""

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import napari_medseg
from napari_medseg.core.cards import read_card
from napari_medseg.core.snapshots import Role, Snapshot, SnapshotItem, write_snapshot
from napari_medseg.core.tasks import TASKS
from napari_medseg.inference.predictor import Predictor
from napari_medseg.workflow.replay import replay_items
from training.base_recipe import read_base_recipe
from training.evaluate import judge_case
from training.pairs import LabelledCase, pair_by_stem
from training.recipe import Recipe, fine_tuning_recipe, write_recipe

PACKAGE = Path(napari_medseg.__file__).parent
SAMPLES = PACKAGE / "samples"
BASE_VERSION = PACKAGE / "models" / "lungs-unet" / "1"
BASE_RECIPE = Path(__file__).parents[1] / "training" / "recipes" / "lungs.json"
TASK = TASKS["lungs"]
N_COMPARED_IN_RUN = 8


@dataclass(frozen=True)
class Point:
    """One retrain: mean Dice over both lungs and all images, and how much of the gap to 1 it closed."""

    n_corrections: int
    xray_dice: float
    xray_worst: float
    gap_closed: float
    ct_dice: float
    ct_change: float
    seconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table, write `corrections.json` and `corrections.svg`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--budget", type=float, default=90.0, help="seconds for each retrain")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of X-rays and of the training")
    parser.add_argument("--ct-step", type=int, default=1, help="judge on every n-th image of the CT hold-out")
    parser.add_argument("--development", action="store_true", help="judge on patients of the training split instead")
    parser.add_argument("--recipe", default="{}", help="JSON that changes the recipe, to try other numbers")
    options = parser.parse_args(arguments)
    corrected, judged = xrays(options.data, options.seed, options.development)
    original = ct_images(options.data, options.development)[:: options.ct_step]
    base = score(BASE_VERSION, judged), score(BASE_VERSION, original)
    points = [point(0, base, base, 0.0)]
    show(points[0])
    for count in options.counts:
        with tempfile.TemporaryDirectory() as folder:
            recipe = fine_tuning_recipe(str(BASE_VERSION), "lungs-unet", 2, options.budget, options.seed)
            recipe = recipe.model_copy(update=json.loads(options.recipe))
            seconds = retrain(Path(folder), recipe, corrected[:count], judged[:N_COMPARED_IN_RUN])
            scores = score(Path(folder), judged), score(Path(folder), original)
        points.append(point(count, scores, base, seconds))
        show(points[-1])
    write(points, options, len(judged), len(original))
    return 0


def xrays(data: Path, seed: int, development: bool) -> tuple[list[LabelledCase], list[LabelledCase]]:
    """X-rays to correct, one for each patient, in a random order, and those to judge on, all of other patients."""
    folder = data / "lungs" / "xray_kermany"
    cases = {case.name: case for case in pair_by_stem(folder / "images", folder / "labels")}
    with (folder / "index.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    np.random.default_rng(seed).shuffle(rows)
    train = list({row["patient"]: row for row in rows if row["split"] == "train"}.values())
    n_train = max(16, len(train) // 2) if development else len(train)
    judged = train[n_train : n_train + 40] if development else [row for row in rows if row["split"] == "val"]
    return [cases[row["name"]] for row in train[:n_train]], [cases[row["name"]] for row in judged]


def ct_images(data: Path, development: bool) -> list[LabelledCase]:
    """CT slices that the base recipe holds out; for development, those that it learnt from, of the same sources."""
    wanted = (Role.TRAIN, Role.VALIDATE) if development else (Role.HOLD_OUT,)
    chosen = []
    for source in read_base_recipe(BASE_RECIPE).sources:
        if source.hold_out:
            cases = pair_by_stem(data / source.images, data / source.labels)
            roles = source.roles([case.name for case in cases], data)
            chosen += [case for case in cases if roles[case.name][1] in wanted]
    return chosen


def score(version: Path, cases: Sequence[LabelledCase]) -> list[float]:
    """Mean Dice of both lungs, image by image."""
    predictor = Predictor.load(version)
    return [judge_case(predictor, case, TASK).score.mean_dice for case in cases]


def retrain(
    run_dir: Path, recipe: Recipe, corrected: Sequence[LabelledCase], compared: Sequence[LabelledCase]
) -> float:
    """Retrain as the window does; return the seconds from starting the process to its end."""
    items = [_item(case, Role.TRAIN, "corrections") for case in corrected]
    items += [_item(case, Role.HOLD_OUT, "corrections") for case in compared]
    for sample in replay_items(SAMPLES, read_card(BASE_VERSION / "card.json")):
        case = LabelledCase(Path(sample.image).stem, SAMPLES / sample.image, SAMPLES / sample.labels, sample.group)
        items.append(_item(case, Role.REPLAY, "bundled sample"))
    write_snapshot(Snapshot(task=TASK.name, items=tuple(items)), run_dir / "snapshot.json")
    write_recipe(recipe, run_dir / "recipe.json")
    began = time.monotonic()
    subprocess.run([sys.executable, "-P", "-m", "training", str(run_dir)], check=True)
    return time.monotonic() - began


def point(
    count: int, scores: tuple[list[float], list[float]], base: tuple[list[float], list[float]], seconds: float
) -> Point:
    """Sum up one retrain."""
    (xray, ct), (base_xray, base_ct) = ([statistics.fmean(part) for part in both] for both in (scores, base))
    return Point(
        n_corrections=count,
        xray_dice=xray,
        xray_worst=min(scores[0]),
        gap_closed=(xray - base_xray) / (1.0 - base_xray),
        ct_dice=ct,
        ct_change=ct - base_ct,
        seconds=seconds,
    )


def show(one: Point) -> None:
    """Print a line of the table."""
    print(
        f"{one.n_corrections:3d} corrections: X-ray Dice {one.xray_dice:.4f} (worst {one.xray_worst:.3f}), "
        f"{one.gap_closed:6.1%} of the gap closed; CT hold-out {one.ct_dice:.4f} ({one.ct_change:+.4f}); "
        f"{one.seconds:.0f} s",
        flush=True,
    )


def write(points: Sequence[Point], options: argparse.Namespace, n_judged: int, n_original: int) -> None:
    """Write the figures and the plot."""
    options.out.mkdir(parents=True, exist_ok=True)
    content = {
        "base": read_card(BASE_VERSION / "card.json").id,
        "base_weights_sha256": read_card(BASE_VERSION / "card.json").weights_sha256,
        "budget_s": options.budget,
        "seed": options.seed,
        "n_xrays_judged": n_judged,
        "n_ct_judged": n_original,
        "split": "development (training patients)" if options.development else "val",
        "points": [asdict(one) for one in points],
    }
    (options.out / "corrections.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    title = (
        f"Dice on {n_judged} unseen X-rays and on the CT hold-out ({n_original} images), {options.budget:.0f} s each"
    )
    (options.out / "corrections.svg").write_text(svg(points, title), encoding="utf-8")


def svg(points: Sequence[Point], title: str) -> str:
    """Draw both curves over the number of corrections."""
    width, height, left, right, top, bottom = 720, 400, 60, 150, 50, 50
    low = min(min(one.xray_dice, one.ct_dice) for one in points)
    low = np.floor(low * 20) / 20
    across = (width - left - right) / max(1, len(points) - 1)
    down = (height - top - bottom) / (1.0 - low)
    parts = [f'<text x="{left}" y="24" font-size="15">{title}</text>']
    for value in np.linspace(low, 1.0, 6):
        y = top + (1.0 - value) * down
        parts.append(f'<path d="M{left} {y:.1f}H{width - right}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.3f}</text>')
    for index, one in enumerate(points):
        x = left + index * across
        parts.append(f'<text x="{x:.1f}" y="{height - bottom + 20}" text-anchor="middle">{one.n_corrections}</text>')
    parts.append(f'<text x="{(left + width - right) / 2}" y="{height - 10}" text-anchor="middle">corrections</text>')
    for name, colour in (("xray_dice", "#D55E00"), ("ct_dice", "#0072B2")):
        places = [(left + i * across, top + (1.0 - getattr(one, name)) * down) for i, one in enumerate(points)]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>' for x, y in places]
        label = {"xray_dice": "X-rays", "ct_dice": "CT hold-out"}[name]
        last = getattr(points[-1], name)
        parts.append(
            f'<text x="{width - right + 10}" y="{places[-1][1] + 4:.1f}" fill="{colour}">{label} {last:.3f}</text>'
        )
    frame = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif"'
    return f'{frame} font-size="12"><rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n'


def _item(case: LabelledCase, role: Role, source: str) -> SnapshotItem:
    return SnapshotItem(
        name=case.name,
        image=str(case.image.resolve()),
        labels=str(case.labels.resolve()),
        group=case.group or case.name,
        role=role,
        source=source,
    )


if __name__ == "__main__":
    sys.exit(main())
