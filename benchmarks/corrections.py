"""Compare ways to retrain: an oracle corrects 1, 2, 4, 8 and 16 images of a new source; each strategy trains on them.

Each result is evaluated on images of the new source whose patients were in no training set, and on the hold-out of the
old source. The first shows the gain, the second the loss. `domains.py` has the sources, `strategies.py` the
strategies. Every run is a line in `OUT/fine_tuning.jsonl`. A rerun skips the lines that exist, so it can be stopped at
any time, and two processes may share the file if they differ in `--tasks`, `--seeds` or `--strategies`. `--report`
only writes table and plot from the existing lines.

`python benchmarks/corrections.py --data ../shared/data --weights ../shared/weights --out docs --budget-s 30`
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import drawing
from domains import DOMAINS, BenchmarkSetup, Domain
from retraining import add_row, choose_corrected_items, make_recipe, make_training_items, read_rows, retrain
from strategies import STRATEGIES

from napari_medseg.core.snapshot import SnapshotItem
from napari_medseg.core.tasks.bundled_tasks import get_task
from napari_medseg.inference.predictor import Predictor
from training.data.labelled_cases import LabelledCase
from training.evaluation.evaluate import evaluate_case

RESULTS = "fine_tuning.jsonl"
BASE = "base"
Row = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing, then write table and plot."""
    options = parse_arguments(arguments)
    results = options.out / RESULTS
    if not options.report:
        place = BenchmarkSetup(
            data=options.data.resolve(),
            weights=options.weights.resolve(),
            work=options.work.resolve(),
            base_budget_s=options.base_budget_s,
            n_threads=options.n_threads,
        )
        for task in options.tasks:
            run_missing(task, DOMAINS[task](place), place, options)
    rows = [row for row in read_rows(results) if row["budget_s"] in (0.0, options.budget_s)]
    (options.out / "fine_tuning.md").write_text(format_table(rows, options.budget_s), encoding="utf-8")
    (options.out / "fine_tuning.svg").write_text(drawing.draw_panels(rows, STRATEGIES), encoding="utf-8")
    return 0


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--weights", type=Path, default=Path("../shared/weights"), help="of the ImageNet encoder")
    parser.add_argument("--out", type=Path, default=Path("docs"))
    parser.add_argument("--work", type=Path, default=Path("demo-output/corrections"), help="bases and changed images")
    parser.add_argument("--tasks", nargs="+", default=list(DOMAINS), choices=list(DOMAINS))
    parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES), choices=list(STRATEGIES))
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--budget-s", type=float, default=90.0, help="seconds of each run, after its images are read")
    parser.add_argument("--base-budget-s", type=float, default=300.0, help="seconds to train a base here, once")
    parser.add_argument("--n-threads", type=int, default=1)
    parser.add_argument(
        "--n-judged", type=int, default=24, help="largest number of images of each source to evaluate on"
    )
    parser.add_argument("--report", action="store_true", help="only write table and plot of the existing results")
    return parser.parse_args(arguments)


def run_missing(task: str, domain: Domain, place: BenchmarkSetup, options: argparse.Namespace) -> None:
    """Make the runs of one task that are not in the results yet."""
    results = options.out / RESULTS
    judged = domain.new_hold_out[: options.n_judged], domain.old_hold_out[: options.n_judged]
    if not any(row["task"] == task and row["strategy"] == BASE for row in read_rows(results)):
        named = {"task": task, "strategy": BASE, "n": 0, "seed": 0, "budget_s": 0.0, "read_s": 0.0, "train_s": 0.0}
        add_row(results, named | compute_scores(domain.parent, domain.task, judged))
    for seed, count, name in ((s, c, n) for s in options.seeds for c in options.counts for n in options.strategies):
        key = {"task": task, "strategy": name, "n": count, "seed": seed, "budget_s": options.budget_s}
        if any(all(row[part] == value for part, value in key.items()) for row in read_rows(results)):
            continue
        recipe = make_recipe(domain, STRATEGIES[name], options.budget_s, seed, place)
        with tempfile.TemporaryDirectory() as folder:
            items = make_training_items(domain, STRATEGIES[name], choose_corrected_items(domain, count, seed))
            read_s, train_s = retrain(Path(folder), recipe, domain, items)
            row = key | {"read_s": read_s, "train_s": train_s} | compute_scores(Path(folder), domain.task, judged)
        add_row(results, row)
        print(f"{task} {name} n={count} seed={seed}: new {row['new']:.4f}, old {row['old']:.4f}", flush=True)


def compute_scores(version: Path, task: str, judged: tuple[Sequence[SnapshotItem], Sequence[SnapshotItem]]) -> Row:
    """Mean Dice, and of instances the AJI, on the new source and on the old one."""
    predictor = Predictor.load(version)
    row: Row = {}
    for name, items in zip(("new", "old"), judged, strict=True):
        cases = [LabelledCase(item.name, Path(item.image), Path(item.labels), item.group) for item in items]
        found = [evaluate_case(predictor, case, get_task(task)).score for case in cases]
        row |= {name: statistics.fmean(score.mean_dice for score in found), f"n_{name}": len(found)}
        row |= {f"{name}_figure": statistics.fmean(score.metric_value for score in found), "metric": found[0].metric}
    return row


def format_table(rows: Sequence[Row], budget_s: float) -> str:
    """Return the results as Markdown: one table for each task."""
    lines = [f"Hold-out Dice after retraining for {budget_s:g} s on one thread, mean over seeds (range).", ""]
    for task in dict.fromkeys(row["task"] for row in rows):
        own = [row for row in rows if row["task"] == task]
        base = next(row for row in own if row["strategy"] == BASE)
        counts = sorted({row["n"] for row in own} - {0})
        lines += [f"### {task}", ""]
        lines += [f"Before: new source {base['new']:.3f} ({base['n_new']} images), old source {base['old']:.3f} "]
        lines[-1] += f"({base['n_old']} images). Each cell: Dice on the new source / change on the old one."
        lines += ["", "| strategy | " + " | ".join(f"{n} corrected" for n in counts) + " | seconds |"]
        lines += ["|---" * (len(counts) + 2) + "|"]
        for name, strategy in STRATEGIES.items():
            cells = [_cell([row for row in own if (row["strategy"], row["n"]) == (name, n)], base) for n in counts]
            took = [row["read_s"] + row["train_s"] for row in own if row["strategy"] == name]
            seconds = f"{statistics.fmean(took):.0f}" if took else ""
            lines.append(f"| {strategy.title} | " + " | ".join(cells) + f" | {seconds} |")
        lines.append("")
    return "\n".join(lines)


def _cell(rows: Sequence[Row], base: Row) -> str:
    if not rows:
        return ""
    new, lost = [row["new"] for row in rows], [row["old"] - base["old"] for row in rows]
    spread = f" ({min(new):.3f} to {max(new):.3f})" if len(rows) > 1 else " (one seed)"
    return f"{statistics.fmean(new):.3f}{spread} / {statistics.fmean(lost):+.4f}"


if __name__ == "__main__":
    sys.exit(main())
