"""Test whether the promotion gate rejects models that were trained on corrupted corrections: twenty trials.

The lungs model, which was trained on chest X-rays too, is retrained on X-rays whose corrections are shuffled between
the cases, empty, or have right and left swapped. The result is evaluated on correct labels of held-out patients. One
trial in four is a control with correct labels. Each trial is a line in `OUT/corrupted.jsonl`; a rerun skips the lines
that exist. The exit code is 1 if a corrupted model passed.

`python benchmarks/corrupted.py --data ../shared/data --weights ../shared/weights --out docs --budget-s 30`
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from domains import DOMAINS, PACKAGE, BenchmarkSetup, Domain
from numpy.typing import NDArray
from retraining import add_row, choose_corrected_items, make_recipe, read_rows, retrain
from strategies import STRATEGIES

from napari_medseg.core import formats
from napari_medseg.core.quality.label_checks import check_labels, swap_sides
from napari_medseg.core.quality.label_mixups import find_label_mixups, make_edge_thumbnail
from napari_medseg.core.quality.promotion_gate import Decision, decide_promotion
from napari_medseg.core.snapshot import SnapshotItem
from napari_medseg.core.tasks.bundled_tasks import get_task
from napari_medseg.inference.predictor import Predictor
from training.data.labelled_cases import LabelledCase
from training.evaluation.evaluate import evaluate_case
from training.run_folder import Compared

RESULTS = "corrupted.jsonl"
UNCORRUPTED = "sound"
Labels = list[NDArray[Any]]

CORRUPTIONS: dict[str, Callable[[Labels, int], Labels]] = {
    "shuffled": lambda labels, seed: _shuffle_labels(labels, 1 + seed % (len(labels) - 1)),
    "empty": lambda labels, seed: [np.zeros_like(one) for one in labels],
    "sides": lambda labels, seed: [swap_sides(one, get_task("lungs")) for one in labels],
    UNCORRUPTED: lambda labels, seed: labels,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the missing trials, and print their results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--weights", type=Path, default=Path("../shared/weights"))
    parser.add_argument("--out", type=Path, default=Path("docs"))
    parser.add_argument("--work", type=Path, default=Path("demo-output/corrections"))
    parser.add_argument("--base", default="lungs-unet@4", help="bundled version to retrain")
    parser.add_argument("--trials", type=int, default=20, help="corrupted ones; every fourth is followed by a control")
    parser.add_argument(
        "--first-seed", type=int, default=0, help="seeds from 100 on were not used to choose any setting"
    )
    parser.add_argument("--n-corrected", type=int, default=8)
    parser.add_argument("--n-held-out", type=int, default=8)
    parser.add_argument("--budget-s", type=float, default=90.0)
    parser.add_argument("--n-threads", type=int, default=1)
    options = parser.parse_args(arguments)
    place = BenchmarkSetup(
        options.data.resolve(), options.weights.resolve(), options.work.resolve(), n_threads=options.n_threads
    )
    domain = replace(DOMAINS["lungs"](place), parent=PACKAGE.joinpath("models", *options.base.split("@")))
    results = options.out / RESULTS
    for seed, name in plan_trials(options.trials, options.first_seed):
        key = {"base": options.base, "seed": seed, "corruption": name, "budget_s": options.budget_s}
        if any(all(row[part] == value for part, value in key.items()) for row in read_rows(results)):
            continue
        row = key | run_trial(domain, place, seed, name, options)
        add_row(results, row)
        print(f"{seed:2d} {name:9s} {row['decision']:12s} {row['text']} Findings: {row['findings']}", flush=True)
    rows = [row for row in read_rows(results) if (row["base"], row["budget_s"]) == (options.base, options.budget_s)]
    corrupted_rows = [row for row in rows if row["corruption"] != UNCORRUPTED]
    passed = [row for row in corrupted_rows if row["decision"] == Decision.BETTER]
    n_sound = sum(row["corruption"] == UNCORRUPTED and row["decision"] == Decision.BETTER for row in rows)
    print(f"refused {len(corrupted_rows) - len(passed)} of {len(corrupted_rows)} corrupted; {n_sound} controls passed")
    return 1 if passed else 0


def plan_trials(n_trials: int, first_seed: int = 0) -> list[tuple[int, str]]:
    """Return seed and corruption of each trial."""
    names = [name for name in CORRUPTIONS if name != UNCORRUPTED]
    plan = []
    for turn, seed in enumerate(range(first_seed, first_seed + n_trials)):
        plan.append((seed, names[turn % len(names)]))
        if turn % 4 == 3:
            plan.append((seed, UNCORRUPTED))
    return plan


def run_trial(
    domain: Domain, place: BenchmarkSetup, seed: int, name: str, options: argparse.Namespace
) -> dict[str, Any]:
    """Retrain on corrupted corrections, apply the promotion gate, and count findings of the checks before training."""
    lessons = choose_corrected_items(domain, options.n_corrected, seed)
    order = np.random.default_rng(seed).permutation(len(domain.new_hold_out))
    judged = [domain.new_hold_out[index] for index in order]
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder)
        spoilt, findings, doubt = _write_corrupted_items(lessons, name, seed, run_dir / "corrections")
        recipe = make_recipe(domain, STRATEGIES["default"], options.budget_s, seed, place)
        retrain(run_dir, recipe, domain, [*spoilt, *domain.sample])
        verdict = decide_promotion(
            compare_versions(domain.parent, run_dir, judged[: options.n_held_out]), label_problem=doubt
        )
    return {
        "decision": verdict.decision,
        "old": verdict.mean_old,
        "new": verdict.mean_new,
        "worst_change": verdict.worst_change,
        "interval": verdict.ci,
        "text": verdict.text,
        "findings": findings,
        "doubt": doubt,
    }


def compare_versions(parent: Path, candidate: Path, items: Sequence[SnapshotItem]) -> list[Compared]:
    """Compare two versions as a run does at its end, but outside the time limit, so that short trials train too."""
    old, new = Predictor.load(parent), Predictor.load(candidate)
    rows = []
    for item in items:
        case = LabelledCase(item.name, Path(item.image), Path(item.labels), item.group)
        before, after = (evaluate_case(predictor, case, get_task("lungs")).score for predictor in (old, new))
        rows.append(
            Compared(
                item.name,
                "",
                before.metric_value,
                after.metric_value,
                before.dice,
                after.dice,
                item.group,
                before.metric,
            )
        )
    return rows


def _write_corrupted_items(
    items: Sequence[SnapshotItem], name: str, seed: int, folder: Path
) -> tuple[list[SnapshotItem], int, str]:
    """Write corrupted labels; return the items with them, in how many the checks find something, and their doubt."""
    task = get_task("lungs")
    images = [formats.read(Path(item.image)) for item in items]
    sound = [formats.read_labels(Path(item.labels), image) for item, image in zip(items, images, strict=True)]
    folder.mkdir()
    made, n_found, sketches = [], 0, []
    for item, image, labels in zip(items, images, CORRUPTIONS[name](sound, seed), strict=True):
        path = folder / f"{item.name}.tif"
        formats.write_labels(path, labels, image)
        n_found += bool(check_labels(labels, task, image))
        sketches.append(make_edge_thumbnail(image, labels))
        made.append(item.model_copy(update={"labels": str(path)}))
    return made, n_found, "labels seem to be mixed up between cases" * bool(find_label_mixups(sketches))


def _shuffle_labels(labels: Labels, by: int) -> Labels:
    """Give each case the labels of another case, resized to its image."""
    moved = [labels[(index + by) % len(labels)] for index in range(len(labels))]
    fitted = []
    for own, other in zip(labels, moved, strict=True):
        places = [np.linspace(0, n - 1, m).round().astype(int) for n, m in zip(other.shape, own.shape, strict=True)]
        fitted.append(np.ascontiguousarray(other[np.ix_(*places)]))
    return fitted


if __name__ == "__main__":
    sys.exit(main())
