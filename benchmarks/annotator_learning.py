"""Seconds of the annotator on the drafts of learning at Accept: of the live version, and with what it learnt.

`python benchmarks/annotator_learning.py --data ../shared/data --work DEMO --out FILE.jsonl` goes over the states that
`learning_at_accept.py --work DEMO` made. Before case n was accepted, its draft came from the live version, or from the
state of the cases before: the annotator corrects both with all tools, in the same way as in `annotator.py`, with small
steps only. A rerun skips the lines that exist; `--report` prints the table only.
"""

import argparse
import random
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from annotator import correct_case, predict, price
from annotator_hand import TimeModel
from annotator_person import BOLDNESS, Work
from learning_at_accept import N_CASES, TRIALS, Trial, add_row, choose_drafting, find_newest_state, read_rows

from napari_medseg.core.snapshot import SnapshotItem
from napari_medseg.inference.predictor import Predictor
from training.data.labelled_cases import LabelledCase

Row = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, default=Path("demo-output/learning"))
    parser.add_argument("--nuclei-base", type=Path, default=Path("demo-output/learning/nuclei-unet-1"))
    parser.add_argument("--out", type=Path, default=Path("annotator_learning.jsonl"))
    parser.add_argument("--trial", default="lungs", choices=sorted(TRIALS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--measured", type=int, nargs="+", default=[4, 8, 12, 16])
    parser.add_argument("--report", action="store_true", help="only print the table")
    options = parser.parse_args(arguments)
    for seed in () if options.report else options.seeds:
        measure_order(TRIALS[options.trial](options), seed, options)
    print(format_table(read_rows(options.out)))
    return 0


def measure_order(trial: Trial, seed: int, options: argparse.Namespace) -> None:
    """Correct both drafts of the measured cases of one order."""
    shuffled = list(trial.new)
    random.Random(seed).shuffle(shuffled)
    folder = (options.work / options.trial / str(seed)).resolve()
    live = Predictor.load(trial.base, "cpu", trial.roi)
    done = {(row["trial"], row["seed"], row["n"]) for row in read_rows(options.out)}
    for n, item in enumerate(shuffled[:N_CASES], start=1):
        if n not in options.measured or (options.trial, seed, n) in done:
            continue
        state = find_newest_state(folder, before=n)
        adapted = live if state is None else Predictor.load(state, "cpu", trial.roi)
        drafting = choose_drafting(live, adapted, item)
        before = correct_draft(live, item, trial.task, seed)
        after = before if drafting is live else correct_draft(drafting, item, trial.task, seed)
        row = {"trial": options.trial, "seed": seed, "n": n, "case": item.name, "by_state": drafting is not live}
        add_row(options.out, row | {"live": before, "learning": after})


def correct_draft(predictor: Predictor, item: SnapshotItem, task: str, seed: int) -> Row:
    """Return what it takes to correct the draft of a version."""
    case = LabelledCase(item.name, Path(item.image), Path(item.labels), item.group)
    with tempfile.TemporaryDirectory() as folder:
        work = merge_labels(predict(predictor, case, task, Path(folder)), item)
        return correct_case(work, "all tools", seed, item.name, Path(folder), BOLDNESS[:1])


def merge_labels(work: Work, item: SnapshotItem) -> Work:
    """Return the work with labels that the truth does not tell apart as one, such as lesions of any class."""
    draft = work.draft.copy()
    for value, members in item.label_sets.items():
        draft[np.isin(draft, members)] = value
    return replace(work, draft=draft)


def format_table(rows: Sequence[Row]) -> str:
    """Mean Dice of the drafts, seconds, and their ratio with its range when each time is halved and doubled.

    Of the cases in which both drafts were corrected up to the goal.
    """
    lines = [
        "| | case | drafts | Dice: live, learning | s: live, learning | ratio (lowest-highest) |",
        "|---" * 6 + "|",
    ]
    for name in dict.fromkeys(row["trial"] for row in rows):
        own = [row for row in rows if row["trial"] == name and row["live"]["reached"] and row["learning"]["reached"]]
        for n in [*sorted({row["n"] for row in own}), 0] if own else ():
            chosen = [row for row in own if n in (0, row["n"])]
            dice = [statistics.fmean(row[key]["first"] for row in chosen) for key in ("live", "learning")]
            sums = [
                [sum(price(row[key], model) for row in chosen) for key in ("live", "learning")]
                for _, model in TimeModel().list_variants()
            ]
            ratios = [after / before for before, after in sums]
            before, after = (total / len(chosen) for total in sums[0])
            lines.append(
                f"| {name} | {n or 'all'} | {len(chosen)} | {dice[0]:.3f}, {dice[1]:.3f} | {before:.1f}, {after:.1f} | "
                f"{ratios[0]:.2f} ({min(ratios):.2f}-{max(ratios):.2f}) |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
