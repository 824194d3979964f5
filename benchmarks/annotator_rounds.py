"""What rounds of eight corrections win on a source that the base never saw, and which order of cases wins most.

Each chain starts from a base, corrects eight images of a new source, retrains by the recipe of the window, and goes on
from the result with the next eight. Which eight come next depends on the order. Corrections are the reference labels;
each result is taken, without the gate. After each round the Dice is measured on images of the new source whose
patients or slides are in no chain, and on the hold-out of the old source (`domains.py` has both sources).

For the versions of the first order, the simulated annotator of `annotator.py` then corrects images of the new source
that are in no chain, with all tools: seconds per case before the first round and after the first, third and fifth.

Orders: `queue` is that of the program (`CaseOrder.USEFUL`); `entropy` takes in turn, from each label, the image whose
pixels of this label have the highest mean entropy, by rank, with noise that halves each round, so that the first
rounds explore.

`python benchmarks/annotator_rounds.py --data ../shared/data --weights ../shared/weights --out FILE.jsonl`

A rerun skips the lines that exist, so it can be stopped at any time. `--report` only prints the tables.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from annotator import correct_case, predict
from annotator_person import BOLDNESS
from annotator_tables import format_orders, format_seconds
from corrections import compute_scores
from domains import DOMAINS, BenchmarkSetup, Domain
from numpy.typing import NDArray
from retraining import add_row, make_recipe, make_training_items, read_rows, retrain
from strategies import STRATEGIES

from napari_medseg.core import formats
from napari_medseg.core.snapshot import Role, SnapshotItem
from napari_medseg.core.tasks.bundled_tasks import get_task
from napari_medseg.inference.events import PredictionOptions, get_result
from napari_medseg.inference.predictor import Predictor
from napari_medseg.workflow.case_list.order import ACCEPTED, FEATURES, STATES, CaseOrder, sort_places
from training.data.labelled_cases import LabelledCase

ORDERS = ("queue", "random", "listed", "entropy")
N_CORRECTED = 8
SECONDS_AFTER = (0, 1, 3, 5)
STEPS_PER_EPOCH = 10
Row = dict[str, Any]


@dataclass(frozen=True)
class Glance:
    """What a version says of an image, without its labels being known: numbers that orders use."""

    uncertainty: float
    is_unlike: bool
    entropies: dict[int, float]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing, then print the tables."""
    options = parse_arguments(arguments)
    if not options.report:
        place = BenchmarkSetup(
            data=options.data.resolve(),
            weights=options.weights.resolve(),
            work=options.work.resolve(),
            base_budget_s=options.base_budget_s,
            recipe={"schedule": {"n_epochs": options.epochs, "steps_per_epoch": STEPS_PER_EPOCH}},
        )
        for task in options.tasks:
            domain = DOMAINS[task](place)
            for seed in options.seeds:
                for order in options.orders:
                    run_chain(domain, order, seed, place, options)
                if options.n_annotated:
                    measure_seconds(domain, seed, options)
    rows = read_rows(options.out)
    print(format_orders(rows), format_seconds(rows), sep="\n\n")
    return 0


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--weights", type=Path, default=Path("../shared/weights"), help="of the ImageNet encoder")
    parser.add_argument("--out", type=Path, default=Path("annotator_rounds.jsonl"))
    parser.add_argument("--work", type=Path, default=Path("demo-output/rounds"), help="bases and versions")
    parser.add_argument("--tasks", nargs="+", default=["lungs", "nuclei"], choices=list(DOMAINS))
    parser.add_argument("--orders", nargs="+", default=list(ORDERS), choices=ORDERS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=3, help="of all orders but the first, which has five")
    parser.add_argument("--epochs", type=int, default=4, help="of ten steps, for each retrain")
    parser.add_argument("--pool", type=int, default=64, help="largest number of images to choose from")
    parser.add_argument("--base-budget-s", type=float, default=300.0, help="seconds to train a base here, once")
    parser.add_argument("--n-judged", type=int, default=16, help="largest number of images of each source to score")
    parser.add_argument("--n-annotated", type=int, default=6, help="images that the annotator corrects per version")
    parser.add_argument("--report", action="store_true", help="only print the tables of the existing lines")
    return parser.parse_args(arguments)


def run_chain(domain: Domain, order: str, seed: int, place: BenchmarkSetup, options: argparse.Namespace) -> None:
    """Make the rounds of a chain that are not in the results yet."""
    rng = np.random.default_rng(seed)
    pool = sorted(domain.new, key=lambda item: item.name)
    pool = [pool[i] for i in sorted(rng.permutation(len(pool))[: options.pool])]
    corrected: list[SnapshotItem] = []
    version = domain.parent
    judged = domain.new_hold_out[: options.n_judged], domain.old_hold_out[: options.n_judged]
    for number in range(1 + (max(SECONDS_AFTER) if order == ORDERS[0] else options.rounds)):
        key = {"kind": "round", "task": domain.task, "order": order, "steps": count_steps(options), "seed": seed}
        key["round"] = number
        previous, version = version, get_version(domain, order, seed, number, options)
        row = find_row(read_rows(options.out), key)
        if row is None:
            if number:
                chosen = choose_next(order, pool, corrected, previous, number - 1, rng)
                corrected += chosen
                retrain_from(replace(domain, parent=previous), corrected, version, seed, place)
            row = key | {"corrected": [item.name for item in corrected]}
            row |= compute_scores(version, domain.task, judged)
            add_row(options.out, row)
            print(
                f"{domain.task} {order} seed {seed} round {number}: new {row['new']:.4f}, old {row['old']:.4f}",
                flush=True,
            )
        corrected = [item for name in row["corrected"] for item in pool if item.name == name]
        if number > 1 and order != ORDERS[0]:
            shutil.rmtree(previous, ignore_errors=True)


def get_version(domain: Domain, order: str, seed: int, number: int, options: argparse.Namespace) -> Path:
    """Return the folder of a version of a chain; the base for round 0."""
    name = f"{domain.task}-{order}-{count_steps(options)}-{seed}-{number}"
    return options.work.resolve() / "versions" / name if number else domain.parent


def count_steps(options: argparse.Namespace) -> int:
    """Return the steps of each retrain."""
    return int(options.epochs) * STEPS_PER_EPOCH


def find_row(rows: Sequence[Row], key: Row) -> Row | None:
    """Return the row with these values."""
    return next((row for row in rows if all(row.get(name) == value for name, value in key.items())), None)


def retrain_from(
    domain: Domain, corrected: Sequence[SnapshotItem], version: Path, seed: int, place: BenchmarkSetup
) -> None:
    """Retrain on all images corrected so far; the result lies in the folder of the version, whole or not at all."""
    strategy = STRATEGIES["default"]
    recipe = make_recipe(domain, strategy, 3600.0, seed, place)
    items = make_training_items(domain, strategy, [item.model_copy(update={"role": Role.TRAIN}) for item in corrected])
    version.parent.mkdir(parents=True, exist_ok=True)
    unfinished = version.with_name(f"{version.name}-unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.rmtree(version, ignore_errors=True)
    retrain(unfinished, recipe, domain, items)
    unfinished.rename(version)


def choose_next(
    order: str,
    pool: Sequence[SnapshotItem],
    corrected: Sequence[SnapshotItem],
    version: Path,
    number: int,
    rng: np.random.Generator,
) -> list[SnapshotItem]:
    """Return the images that are corrected in round `number`, from 0, in an order."""
    done = {item.name for item in corrected}
    left = [item for item in pool if item.name not in done]
    if order == "listed":
        return left[:N_CORRECTED]
    if order == "random":
        return [left[i] for i in rng.permutation(len(left))[:N_CORRECTED]]
    predictor = Predictor.load(version)
    glances = [glance(predictor, item) for item in left]
    if order == "queue":
        return [left[i] for i in rank_by_queue(left, glances, corrected)[:N_CORRECTED]]
    return [left[i] for i in rank_by_entropy(glances, 0.5**number, rng)[:N_CORRECTED]]


def glance(predictor: Predictor, item: SnapshotItem) -> Glance:
    """Predict an image, and keep what orders use."""
    options = PredictionOptions(with_uncertainty_map=True)
    result = get_result(predictor.predict(formats.read(Path(item.image)), options), lambda text: None)
    assert result.uncertainty_map is not None
    wrong = np.clip(result.uncertainty_map / 100.0, 1e-6, 0.5)
    entropy = -wrong * np.log2(wrong) - (1 - wrong) * np.log2(1 - wrong)
    kinds = np.minimum(result.labels, 1) if get_task(predictor.card.task).instances else result.labels
    entropies = {int(value): float(entropy[kinds == value].mean()) for value in np.unique(kinds) if value}
    return Glance(result.uncertainty, (result.domain_distance or 0.0) > 1.0, entropies)


def rank_by_queue(
    left: Sequence[SnapshotItem], glances: Sequence[Glance], corrected: Sequence[SnapshotItem]
) -> list[int]:
    """Return the places of the undecided images in the order of the program."""
    features = np.zeros(len(left) + len(corrected), FEATURES)
    groups = {name: number for number, name in enumerate(sorted({item.group for item in [*left, *corrected]}))}
    features["group"] = [groups[item.group] for item in [*left, *corrected]]
    features["id"], features["planes"] = np.arange(len(features)), 1
    features["state"] = [STATES.index("predicted")] * len(left) + [ACCEPTED] * len(corrected)
    features["uncertainty"][: len(left)] = [one.uncertainty for one in glances]
    features["unlike"][: len(left)] = [one.is_unlike for one in glances]
    return [int(place) for place in sort_places(features, CaseOrder.USEFUL) if place < len(left)]


def rank_by_entropy(glances: Sequence[Glance], noise: float, rng: np.random.Generator) -> list[int]:
    """Return the places of images: from each label in turn the one with the highest rank of entropy, with noise."""
    labels = sorted({value for one in glances for value in one.entropies})
    queues = [_rank_label(glances, value, noise, rng) for value in labels]
    ranked: dict[int, None] = {}
    for places in zip(*queues, strict=True):
        ranked |= dict.fromkeys(int(place) for place in places)
    return list(ranked) or list(range(len(glances)))


def _rank_label(glances: Sequence[Glance], value: int, noise: float, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return places; an image without the label counts as one of mean entropy: the label may be missed there."""
    known = [one.entropies[value] for one in glances if value in one.entropies]
    entropies = np.array([one.entropies.get(value, statistics.fmean(known)) for one in glances])
    ranks = entropies.argsort().argsort() / max(1, len(glances) - 1)
    return np.argsort(-(ranks + rng.normal(0.0, noise, len(glances))))


def measure_seconds(domain: Domain, seed: int, options: argparse.Namespace) -> None:
    """Let the annotator correct images that are in no chain, from the draft of each version of the first order.

    It works with small steps only: bad drafts of whole lungs take the computer a minute each.
    """
    images = domain.new_hold_out[:: max(1, len(domain.new_hold_out) // options.n_annotated)][: options.n_annotated]
    for number in SECONDS_AFTER:
        version = get_version(domain, ORDERS[0], seed, number, options)
        keys = [(item, make_key(domain, seed, number, item, count_steps(options))) for item in images]
        missing = [(item, key) for item, key in keys if find_row(read_rows(options.out), key) is None]
        if not missing or not version.exists():
            continue
        predictor = Predictor.load(version)
        for item, key in missing:
            case = LabelledCase(item.name, Path(item.image), Path(item.labels), item.group)
            with tempfile.TemporaryDirectory() as folder:
                work = predict(predictor, case, domain.task, Path(folder))
                row = correct_case(work, "all tools", seed, item.name, Path(folder), BOLDNESS[:1])
            add_row(options.out, key | row)


def make_key(domain: Domain, seed: int, number: int, item: SnapshotItem, steps: int) -> Row:
    """Return what names a measurement of seconds; the base is the same for all seeds of a chain, the hand is not."""
    return {"kind": "seconds", "task": domain.task, "steps": steps, "seed": seed, "round": number, "case": item.name}


if __name__ == "__main__":
    sys.exit(main())
