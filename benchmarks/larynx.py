"""How many frames does the first model of a new task need? Laryngoscopy, six labels, no bundled model.

Makes the task, then trains a first model on 4, 8, 16, 32 and all frames, each for the same time or number of steps, by
the same functions as `medseg train folders`. Each model is evaluated on a sequence that is in no training set. The
frames are taken from the other sequences in turn, evenly spread over each. A smaller set is always part of the larger
ones.

`python benchmarks/larynx.py --data ../shared/data/larynx --out docs/larynx --budget 300`
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
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

from napari_medseg.core.model_registry import BUNDLED_MODELS, ModelRegistry
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.core.tasks.custom_task import make_custom_task
from napari_medseg.inference.device import choose_device
from napari_medseg.inference.predictor import Predictor
from training.data.labelled_cases import LabelledCase
from training.evaluation.evaluate import evaluate_cases, make_predictor_source
from training.from_folders.default_recipe import RecipeOverrides
from training.from_folders.folder_data import FolderData, check_folder_data
from training.from_folders.folder_run import fill_run
from training.from_folders.mask_pairing import PairingResult
from training.from_folders.mask_values import MaskEncoding
from training.recipe_keys import merge_keys
from training.run_folder import EVALUATION_REQUEST_FILE, Failed, read_events
from training.start_plan import list_donors

SEQUENCE_PATTERN = r"_(seq\d+)_"
LABEL_COLOURS = {
    "vocal_folds": "#E69F00",
    "other_tissue": "#CC79A7",
    "glottal_space": "#0072B2",
    "pathology": "#F0E442",
    "surgical_tool": "#56B4E9",
    "intubation": "#009E73",
}
SUMMARY = "mean"


@dataclass(frozen=True)
class LearningCurvePoint:
    """One model: Dice per label, averaged over the held-out frames that show the label, and the mean of those."""

    n_frames: int
    dice: dict[str, float]
    n_steps: int
    seconds: float

    @property
    def mean(self) -> float:
        """Mean over the labels that occur."""
        return statistics.fmean(self.dice.values())


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and write `larynx.csv`, `larynx.md`, `larynx.json` and `larynx.svg`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--hold-out", default="seq6", help="sequence to evaluate on")
    parser.add_argument("--counts", type=int, nargs="+", default=[4, 8, 16, 32, 0], help="0: all")
    parser.add_argument("--budget", type=float, default=300.0, help="seconds for each model, reading included")
    parser.add_argument("--steps", type=int, default=0, help="steps for each model, instead of seconds")
    parser.add_argument("--judge-every", type=int, default=1, help="evaluate on every n-th frame of the sequence")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--changes", type=json.loads, default={}, help='of the recipe, as {"data": {"foreground_share": 0.5}}'
    )
    parser.add_argument("--keep", type=Path, help="new folder for the run folders, as 4, 8 ...; else they are deleted")
    options = parser.parse_args(arguments)
    task = make_custom_task("larynx", list(LABEL_COLOURS), list(LABEL_COLOURS.values()), kind="endoscopy")
    folders = options.data / "images", options.data / "labels"
    data = FolderData("larynx-unet", *folders, MaskEncoding(task), group_by=SEQUENCE_PATTERN)
    matched = check_folder_data(data)
    judged = [case for case in matched.cases if options.hold_out in case.name][:: options.judge_every]
    frames = interleave_sequences(group_frames_by_sequence(matched, options.hold_out))
    points = []
    for count in options.counts:
        chosen = frames[: count or len(frames)]
        point = train_and_score(data, [*chosen, *(case.name for case in judged)], len(chosen), matched, options)
        points.append(point)
        print(json.dumps({"frames": point.n_frames, **point.dice, "mean": point.mean, "seconds": point.seconds}))
    write_results(points, task, options, len(judged))
    return 0


def group_frames_by_sequence(matched: PairingResult, held_out: str) -> list[list[str]]:
    """Return the names of the frames of each sequence except the held-out one, in the order of the file names."""
    names = sorted(case.name for case in matched.cases if held_out not in case.name)
    keys = sorted({name.split("_")[1] for name in names})
    return [[name for name in names if f"_{key}_" in name] for key in keys]


def interleave_sequences(groups: Sequence[Sequence[str]]) -> list[str]:
    """Take one frame of each sequence in turn, so that the first few of each sequence are evenly spread over it."""
    spread = [[group[index] for index in _order_by_bisection(len(group))] for group in groups]
    return [name for name in chain.from_iterable(zip_longest(*spread)) if name is not None]


def train_and_score(
    data: FolderData, names: Sequence[str], n_frames: int, matched: PairingResult, options: argparse.Namespace
) -> LearningCurvePoint:
    """Train on the first `n_frames` names in a separate process, and evaluate on the others."""
    budget = {"n_epochs": max(1, options.steps // 10)} if options.steps else {"budget_s": options.budget}
    changes = {
        "schedule": {"n_epochs": 2000, "patience": 2000, "steps_per_epoch": 10, "keep": "last"},
        "run": {"seed": options.seed},
    }
    cases = [case for case in matched.cases if case.name in set(names)]
    registry = ModelRegistry(Path(), BUNDLED_MODELS)
    donors = list_donors(registry)
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) if options.keep is None else options.keep / str(n_frames)
        wanted = FolderData(
            data.name,
            data.images,
            data.masks,
            data.encoding,
            group_by=SEQUENCE_PATTERN,
            hold_out=(options.hold_out,),
            train_on=tuple(names[:n_frames]),
        )
        recipe = merge_keys(merge_keys(changes, budget), options.changes)
        fill_run(wanted, cases, donors, run_dir, RecipeOverrides(recipe=recipe))
        (run_dir / EVALUATION_REQUEST_FILE).unlink()  # the frames are evaluated below, label by label
        began = time.monotonic()
        subprocess.run([sys.executable, "-P", "-m", "training", str(run_dir)], check=False)
        seconds = time.monotonic() - began
        events = [event for event, _ in read_events(run_dir)]
        if failed := [event.message for event in events if isinstance(event, Failed)]:
            raise RuntimeError(failed[-1])
        judged = [case for case in cases if case.name in set(names[n_frames:])]
        n_steps = 10 * sum(type(event).__name__ == "EpochEnded" for event in events)
        dice = compute_mean_dice_per_label(
            run_dir, [(case.name, case.image, case.mask.path) for case in judged], data.encoding.task
        )
    return LearningCurvePoint(n_frames, dice, n_steps, round(seconds, 1))


def compute_mean_dice_per_label(
    run_dir: Path, frames: Sequence[tuple[str, Path, Path]], task: Task
) -> dict[str, float]:
    """Mean Dice of each label over the frames whose reference has it."""
    predictor = Predictor.load(run_dir, choose_device())
    cases = [LabelledCase(name, image, labels) for name, image, labels in frames]
    found: dict[str, list[float]] = {label.name: [] for label in task.labels}
    for judged in evaluate_cases(make_predictor_source(predictor), cases, task):
        for label in task.labels:
            if (judged.reference == label.value).any():
                found[label.name].append(judged.score.dice[label.name])
    return {name: statistics.fmean(scores) for name, scores in found.items() if scores}


def write_results(points: Sequence[LearningCurvePoint], task: Task, options: argparse.Namespace, n_judged: int) -> None:
    """Write the table as Markdown, CSV and JSON, and the curves."""
    options.out.mkdir(parents=True, exist_ok=True)
    names = list(points[0].dice)
    head = ["frames", *names, SUMMARY, "steps", "seconds"]
    rows = [
        [point.n_frames, *(round(dice, 4) for dice in (*point.dice.values(), point.mean)), point.n_steps, point.seconds]
        for point in points
    ]
    with (options.out / "larynx.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([head, *rows])
    lines = [f"| {' | '.join(map(str, row))} |" for row in (head, ["---"] * len(head), *rows)]
    effort = f"{options.steps} steps" if options.steps else f"{options.budget:.0f} s"
    where = f"{effort} for each model on {choose_device()}"
    title = f"Dice on {n_judged} frames of {options.hold_out}, never seen; {where}"
    note = "Each figure is the mean over the frames that show the label."
    (options.out / "larynx.md").write_text("\n".join([f"{title}. {note}", "", *lines, ""]), encoding="utf-8")
    content = {"title": title, "seed": options.seed, "rows": [dict(zip(head, row, strict=True)) for row in rows]}
    (options.out / "larynx.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    (options.out / "larynx.svg").write_text(draw_curves_svg(points, task, title), encoding="utf-8")


def draw_curves_svg(points: Sequence[LearningCurvePoint], task: Task, title: str) -> str:
    """Draw the Dice of each label, and their mean in black, over the number of frames."""
    width, height, left, right, top, bottom = 760, 420, 60, 170, 50, 50
    across = (width - left - right) / max(1, len(points) - 1)
    down = height - top - bottom
    parts = [f'<text x="{left}" y="24" font-size="14">{title}</text>']
    for tenth in range(0, 11, 2):
        y = top + (1.0 - tenth / 10) * down
        parts.append(f'<path d="M{left} {y:.1f}H{width - right}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{tenth / 10:.1f}</text>')
    for index, point in enumerate(points):
        x = left + index * across
        parts.append(f'<text x="{x:.1f}" y="{height - bottom + 20}" text-anchor="middle">{point.n_frames}</text>')
    parts.append(f'<text x="{(left + width - right) / 2}" y="{height - 10}" text-anchor="middle">frames</text>')
    colours = {label.name: label.colour for label in task.labels} | {SUMMARY: "#000000"}
    curves = {name: [point.dice[name] for point in points] for name in points[0].dice}
    curves[SUMMARY] = [point.mean for point in points]
    label_y = _spread_label_positions({name: top + (1.0 - values[-1]) * down for name, values in curves.items()})
    for name, values in curves.items():
        places = [(left + index * across, top + (1.0 - value) * down) for index, value in enumerate(values)]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colours[name]}" stroke-width="2.5"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colours[name]}"/>' for x, y in places]
        parts.append(f'<circle cx="{width - right + 14}" cy="{label_y[name]:.1f}" r="5" fill="{colours[name]}"/>')
        parts.append(f'<text x="{width - right + 25}" y="{label_y[name] + 4:.1f}">{name} {values[-1]:.3f}</text>')
    frame = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif"'
    return f'{frame} font-size="12"><rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n'


def _spread_label_positions(wanted_y: dict[str, float], at_least: float = 16.0) -> dict[str, float]:
    """Move the names beside the curves down if they would overlap."""
    placed: dict[str, float] = {}
    lowest = float("-inf")
    for name in sorted(wanted_y, key=wanted_y.__getitem__):
        lowest = max(wanted_y[name], lowest + at_least)
        placed[name] = lowest
    return placed


def _order_by_bisection(length: int) -> list[int]:
    """All indices below `length`, the middle first, then the middles of what is left on both sides, and so on."""
    order, parts = [], [(0, length)]
    while parts:
        first, last = parts.pop(0)
        if first < last:
            middle = (first + last) // 2
            order.append(middle)
            parts += [(first, middle), (middle + 1, last)]
    return order


if __name__ == "__main__":
    sys.exit(main())
