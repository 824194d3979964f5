"""Learning at Accept: the Dice of the first draft of case n with and without it, and what is forgotten.

A person who corrects perfectly accepts 16 cases of a source that the live version never saw, in an order set by the
seed. Before each case is corrected, it is predicted by the live version and by the adapted state of then; afterwards
the same code as in the window adapts the state (`training.adapt`). At the end both are evaluated on images of the old
source that no training saw. All images are real.

- lungs: lungs-ct@1, trained on CT only; new are chest X-rays of children, old is COVID-19 CT of unseen patients.
- bodies: lungs-unet@4; new are CT slices of whole width of unseen patients, old are cropped slices of these.
- nuclei: nuclei-unet@1 (`--nuclei-base`, from the history of the repository), trained on MoNuSeg and the Data Science
  Bowl; new is MoNuSAC, of other laboratories, old are unseen images of both.
- lesions: covid-unet@2; new are CT slices of whole width of unseen patients, old are cropped slices of these.

The adapted state drafts only what is more like its corrections than like older images, as in the window; the share of
old images that it drafts all the same is in the results.

It can be stopped and continued: what is in the results is not made again. `--minutes` ends it after the adaptation that
runs then.
"""

import argparse
import csv
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

import napari_medseg
from napari_medseg.core import formats
from napari_medseg.core.model_card import CARD_FILE, read_card
from napari_medseg.core.quality.metrics import compute_bootstrap_interval
from napari_medseg.core.records import Case, Correction
from napari_medseg.core.replay import read_replay_samples
from napari_medseg.core.snapshot import Role, Snapshot, SnapshotItem, write_snapshot
from napari_medseg.core.tasks.bundled_tasks import get_task
from napari_medseg.inference.events import get_result
from napari_medseg.inference.predictor import Predictor
from napari_medseg.workflow.learning.choice import choose_corrections
from napari_medseg.workflow.learning.lesson import MAX_REPLAYED
from training.adapt.adapter import adapt
from training.adapt.request import (
    BUDGET_S,
    SNAPSHOT_FILE,
    AdaptRequest,
    read_request,
    read_result,
    write_request,
    write_result,
)
from training.data.ignore_regions import get_reviewed_part
from training.data.labelled_cases import LabelledCase, pair_by_stem
from training.evaluation.evaluate import evaluate_case

PACKAGE = Path(napari_medseg.__file__).parent
MODELS, SAMPLES = PACKAGE / "models", PACKAGE / "samples"
N_CASES, N_OLD = 16, 20
SPANS = ((2, 4), (5, 8), (9, 16))
"""Cases that the table also has together, because drafts of single cases differ much."""
RESULTS = "learning_at_accept.jsonl"


@dataclass(frozen=True)
class Trial:
    """A version, images of a source that it never saw, and images of its old source that no training saw."""

    task: str
    base: Path
    new: tuple[SnapshotItem, ...]
    old: tuple[SnapshotItem, ...]
    roi: Path | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, default=Path("demo-output/learning"))
    parser.add_argument("--nuclei-base", type=Path, default=Path("demo-output/learning/nuclei-unet-1"))
    parser.add_argument("--trials", nargs="+", default=["lungs", "nuclei", "lesions"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--n-cases", type=int, default=N_CASES, help="cases that are accepted; a later call may go on")
    parser.add_argument("--measured", type=int, nargs="+", default=list(range(1, N_CASES + 1)), help="first drafts")
    parser.add_argument("--budget-s", type=float, default=BUDGET_S)
    parser.add_argument("--minutes", type=float, default=1e9, help="end after this time, to be continued")
    parser.add_argument("--report", action="store_true", help="only print the table")
    options = parser.parse_args(arguments)
    until = time.monotonic() + 60 * options.minutes
    for seed, name in [(seed, name) for seed in options.seeds for name in options.trials]:
        if not options.report and not run_trial(name, TRIALS[name](options), seed, options, until):
            break
    print(format_table(read_rows(options.work / RESULTS)))
    return 0


def run_trial(name: str, trial: Trial, seed: int, options: argparse.Namespace, until: float) -> bool:
    """Make the missing cases of one order; return False if the time is over."""
    shuffled = list(trial.new)
    random.Random(seed).shuffle(shuffled)
    cases, folder = shuffled[: options.n_cases], (options.work / name / str(seed)).resolve()
    live = Predictor.load(trial.base, "cpu", trial.roi)
    for n, item in enumerate(cases, start=1):
        known = [row for row in read_rows(options.work / RESULTS) if _is_of(row, name, seed, n)]
        is_draft_missing = n in options.measured and not any("live" in row for row in known)
        if known and not is_draft_missing:
            continue
        if time.monotonic() > until:
            return False
        state = find_newest_state(folder, before=n)
        row: dict[str, Any] = {"trial": name, "seed": seed, "n": n}
        row |= compare_drafts(live, state, trial, item) if is_draft_missing else {}
        if not known:
            row["n_corrections"] = 0 if state is None else len(read_request(state).corrections)
            began = time.process_time()
            row |= learn(trial, cases[:n], state, folder / f"{n:02d}", options.budget_s)
            row["processor_s"] = time.process_time() - began
        if n == len(cases):
            row |= evaluate_old(live, trial, find_newest_state(folder))
        add_row(options.work / RESULTS, row)
        print(json.dumps(row), flush=True)
    return True


def learn(
    trial: Trial, accepted: Sequence[SnapshotItem], state: Path | None, folder: Path, budget_s: float
) -> dict[str, Any]:
    """Adapt as the window does after an Accept; return what is written about it."""
    folder.mkdir(parents=True, exist_ok=True)
    seen = () if state is None else read_request(state).corrections
    pairs = [(_make_case(n, item), _make_correction(n)) for n, item in enumerate(accepted, start=1)]
    choice = choose_corrections(pairs, seen)
    if choice.begins_anew:
        state, seen = None, ()
    roles = {correction.id: Role.TRAIN for _, correction in choice.learnt}
    roles |= {correction.id: Role.VALIDATE for _, correction in choice.compared}
    items = [accepted[place - 1].model_copy(update={"role": role}) for place, role in roles.items()]
    card = read_card(trial.base / CARD_FILE)
    sample = [
        make_item(SAMPLES / one.image, SAMPLES / one.labels, one.group, Role.REPLAY)
        for one in read_replay_samples(SAMPLES, card)
    ]
    sample = sample[:: -(-len(sample) // MAX_REPLAYED) or 1]
    write_snapshot(Snapshot(task=trial.task, items=(*items, *sample)), folder / SNAPSHOT_FILE)
    learnt = {correction.id for _, correction in choice.learnt}
    write_request(
        AdaptRequest(
            parent=card.id,
            parent_sha256=card.weights_sha256,
            base=str(trial.base.resolve()),
            start="" if state is None else str(state),
            start_sha256="" if state is None else read_card(state / CARD_FILE).weights_sha256,
            roi_model="" if trial.roi is None else str(trial.roi.resolve()),
            corrections=tuple(sorted({*seen, *learnt})),
            budget_s=budget_s,
        ),
        folder,
    )
    result = adapt(folder)
    write_result(result, folder)
    named = {"kept": result.kept, "share": result.share, "n_steps": result.n_steps, "text": result.text}
    return named | {
        which: None if one is None else [round(one.live, 4), round(one.adapted, 4)]
        for which, one in (("replay", result.replay), ("validation", result.validation))
    }


def _is_of(row: dict[str, Any], name: str, seed: int, n: int) -> bool:
    return (row["trial"], row["seed"], row["n"]) == (name, seed, n)


def compare_drafts(live: Predictor, state: Path | None, trial: Trial, item: SnapshotItem) -> dict[str, Any]:
    """Return the Dice of a case's first draft by the live version, and by whichever of it and a state drafts it."""
    adapted = live if state is None else Predictor.load(state, "cpu", trial.roi)
    drafting = choose_drafting(live, adapted, item)
    dice = predict_dice(live, item, trial.task)
    return {
        "live": dice,
        "adapted": dice if drafting is live else predict_dice(adapted, item, trial.task),
        "by_state": drafting is not live,
    }


def find_newest_state(folder: Path, before: int | None = None) -> Path | None:
    """Return the folder of the newest state that was kept, of those before a case; `None` if there is none."""
    found = [path.parent for path in sorted(folder.glob("*/result.json"))]
    kept = [path for path in found if read_result(path).kept and (before is None or int(path.name) < before)]
    return kept[-1] if kept else None


def choose_drafting(live: Predictor, adapted: Predictor, item: SnapshotItem) -> Predictor:
    """Return which of the two drafts an image, as `workflow.learning.next_draft.predict_by_state`."""
    if adapted is live:
        return live
    result = get_result(adapted.predict(formats.read(Path(item.image))), lambda text: None)
    return live if result.is_like_training else adapted


def predict_dice(predictor: Predictor, item: SnapshotItem, task: str) -> float:
    """Return the mean Dice of a case, as the window would show it."""
    case = LabelledCase(
        item.name,
        Path(item.image),
        Path(item.labels),
        item.group,
        reviewed_part=get_reviewed_part(item, Path()),
        label_sets=item.label_sets,
    )
    return evaluate_case(predictor, case, get_task(task)).score.mean_dice


def evaluate_old(live: Predictor, trial: Trial, state: Path | None) -> dict[str, Any]:
    """Return the mean Dice on the old source of the live version and of the last state."""
    adapted = live if state is None else Predictor.load(state, "cpu", trial.roi)
    before = [predict_dice(live, item, trial.task) for item in trial.old]
    drafting = [choose_drafting(live, adapted, item) for item in trial.old]
    after = [
        dice if one is live else predict_dice(one, item, trial.task)
        for dice, one, item in zip(before, drafting, trial.old, strict=True)
    ]
    every = [predict_dice(adapted, item, trial.task) for item in trial.old] if state is not None else before
    return {
        "old_live": statistics.fmean(before),
        "old_adapted": statistics.fmean(after),
        "old_all_by_state": statistics.fmean(every),
        "n_old_by_state": sum(one is not live for one in drafting),
        "n_old": len(trial.old),
    }


def make_lungs_trial(options: argparse.Namespace) -> Trial:
    """CT to chest X-rays."""
    source, index = options.data / "lungs" / "xray_kermany", "patient"
    new = list_items(source / "images", source / "labels", read_groups(source / "index.csv", index))
    ct = options.data / "covid" / "ct20"
    old = list_items(ct / "images", ct / "lungs", read_groups(ct / "index.csv", "group"))
    return Trial("lungs", MODELS / "lungs-ct" / "1", tuple(new[::4]), keep_unseen(old))


def make_bodies_trial(options: argparse.Namespace) -> Trial:
    """Cropped CT slices to slices of whole width."""
    parts = []
    for name in ("ct20_whole_body", "ct20"):
        source = options.data / "covid" / name
        parts.append(
            list_items(source / "images", source / "lungs", read_groups(source / "index.csv", "group"), only=UNSEEN)
        )
    return Trial("lungs", MODELS / "lungs-unet" / "4", tuple(parts[0]), thin(parts[1], N_OLD))


def make_lesions_trial(options: argparse.Namespace) -> Trial:
    """Cropped CT slices with lesions to slices of whole width; labels say that there is a lesion, of either class."""
    parts = []
    for name in ("ct20_whole_body", "ct20"):
        source = options.data / "covid" / name
        groups = read_groups(source / "index.csv", "group")
        found = list_items(source / "images", source / "lesions", groups, only=UNSEEN)
        parts.append([item.model_copy(update={"label_sets": {1: (1, 2)}}) for item in found])
    return Trial(
        "covid", MODELS / "covid-unet" / "2", tuple(parts[0]), thin(parts[1], N_OLD), MODELS / "lungs-unet" / "4"
    )


def make_nuclei_trial(options: argparse.Namespace) -> Trial:
    """MoNuSeg and Data Science Bowl to MoNuSAC, whose labels say where nuclei are."""
    source, folder = options.data / "nuclei" / "monusac", options.work / "monusac"
    new = []
    for case in pair_by_stem(source / "images", source / "classes"):
        labels = folder / f"{case.name}.tif"
        if not labels.exists():
            folder.mkdir(parents=True, exist_ok=True)
            classes = formats.read_labels(case.labels, formats.read(case.image))
            tifffile.imwrite(labels, np.where(classes == 255, 255, classes > 0).astype(np.uint8))
        item = make_item(case.image, labels, "-".join(case.name.split("-")[:3]), Role.TRAIN)
        new.append(item.model_copy(update={"ignored_value": 255, "label_sets": {1: (1, 2, 3)}}))
    recipe = json.loads((PACKAGE.parent / "training" / "recipes" / "nuclei.json").read_text(encoding="utf-8"))
    old = []
    for one in recipe["sources"]:
        if one.get("hold_out"):
            pairs = pair_by_stem(options.data / one["images"], options.data / one["labels"])
            chosen = [case for case in pairs if case.name in one["hold_out"]]
            old += [make_item(case.image, case.labels, case.name, Role.TRAIN) for case in chosen]
    return Trial("nuclei", options.nuclei_base, tuple(new), tuple(old))


TRIALS: dict[str, Callable[[argparse.Namespace], Trial]] = {
    "lungs": make_lungs_trial,
    "bodies": make_bodies_trial,
    "nuclei": make_nuclei_trial,
    "lesions": make_lesions_trial,
}
UNSEEN = ("cc003", "cc006", "rp14")
"""Beginnings of the patients of COVID-19-CT-Seg that no training saw."""


def read_groups(index: Path, column: str) -> dict[str, str]:
    """Return the group of each image by its name."""
    with index.open(newline="", encoding="utf-8") as file:
        return {row["name"]: row[column] for row in csv.DictReader(file)}


def list_items(images: Path, labels: Path, groups: dict[str, str], only: tuple[str, ...] = ()) -> list[SnapshotItem]:
    """Return the labelled images of two folders, those of some groups if `only` names beginnings of them."""
    return [
        make_item(case.image, case.labels, groups[case.name], Role.TRAIN)
        for case in pair_by_stem(images, labels)
        if not only or groups[case.name].startswith(only)
    ]


def keep_unseen(items: Sequence[SnapshotItem]) -> tuple[SnapshotItem, ...]:
    """Return images of patients that no training saw, evenly chosen."""
    return thin([item for item in items if item.group.startswith(UNSEEN)], N_OLD)


def thin(items: Sequence[SnapshotItem], at_most: int) -> tuple[SnapshotItem, ...]:
    """Return at most so many items, evenly chosen."""
    step = max(1, -(-len(items) // at_most))
    return tuple(items[::step])


def make_item(image: Path, labels: Path, group: str, role: Role) -> SnapshotItem:
    """Return the item of one image; paths become absolute."""
    return SnapshotItem(
        name=image.stem, image=str(image.resolve()), labels=str(labels.resolve()), group=group, role=role
    )


def format_table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the mean Dice of first drafts as Markdown: by case, by spans of cases, and what is lost on the old source.

    The interval of a span is a bootstrap over its drafts; an image counts once for each order that it is drafted in.
    """
    lines = ["| | case | first drafts | live | with learning | gain (range, or interval) | drafted by the state |"]
    lines.append("|---" * 7 + "|")
    ends = ["| | seeds | old images | live | with learning | drafted by the state | Dice if it drafted all |"]
    ends.append("|---" * 7 + "|")
    for name in dict.fromkeys(row["trial"] for row in rows):
        mine = [row for row in rows if row["trial"] == name]
        drafts = {(row["seed"], row["n"]): row for row in mine if "live" in row}
        spans = [(n, n) for n in sorted({n for _, n in drafts})]
        for first, last in [*spans, *SPANS]:
            if chosen := [row for (_, n), row in sorted(drafts.items()) if first <= n <= last]:
                lines.append(_format_drafts(name, first, last, chosen))
        if last_rows := list({row["seed"]: row for row in mine if "old_live" in row}.values()):  # after the most cases
            ends.append(_format_old(name, last_rows))
    return "\n".join([*lines, "", *ends])


def _format_drafts(name: str, first: int, last: int, drafts: Sequence[dict[str, Any]]) -> str:
    gains = [row["adapted"] - row["live"] for row in drafts]
    low, high = (min(gains), max(gains)) if first == last else compute_bootstrap_interval(gains)
    live, adapted = (statistics.fmean(row[key] for row in drafts) for key in ("live", "adapted"))
    by_state = sum(row.get("by_state", True) for row in drafts)
    return (
        f"| {name} | {first if first == last else f'{first} to {last}'} | {len(drafts)} | {live:.3f} | {adapted:.3f} | "
        f"{statistics.fmean(gains):+.3f} ({low:+.3f} to {high:+.3f}) | {by_state} |"
    )


def _format_old(name: str, rows: Sequence[dict[str, Any]]) -> str:
    live, adapted = (statistics.fmean(row[key] for row in rows) for key in ("old_live", "old_adapted"))
    every = statistics.fmean(row["old_all_by_state"] for row in rows)
    by_state, n_old = (sum(row[key] for row in rows) for key in ("n_old_by_state", "n_old"))
    return (
        f"| {name} | {len(rows)} | {rows[0]['n_old']} | {live:.4f} | {adapted:.4f} | {by_state} of {n_old} | "
        f"{every:.4f} |"
    )


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the lines of the results."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def add_row(path: Path, row: dict[str, Any]) -> None:
    """Add a line to the results."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


_CASE = Case(0, "", "", "", "", "YX", (1, 1), None, (), False, "")
_CORRECTION = Correction(0, 0, 0, "", "", "", "", 0.0, 0, "", "")


def _make_case(number: int, item: SnapshotItem) -> Case:
    return replace(_CASE, id=number, group=item.group)


def _make_correction(number: int) -> Correction:
    return replace(_CORRECTION, id=number)


if __name__ == "__main__":
    sys.exit(main())
