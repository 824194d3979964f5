"""Seconds per case of a simulated annotator: brush from nothing, brush from the draft, all tools from the same draft.

`python benchmarks/annotator.py --data ../shared/data --out FILE.jsonl` predicts hold-out images of each task with the
live bundled version and corrects them up to a stated quality. The annotator works on a real draft with its journal, by
the editing tools of the program. At each step it takes the action that mends most per second of a stated time model
(`annotator_hand.TimeModel`). Its hand misses by 2 px of the screen, which it does not know when it chooses, and it
overlooks one error in ten. It knows the truth, so its seconds are those of somebody who sees at once what is wrong:
ratios between ways to work mean more than the seconds. Each case is corrected with small and with large steps
(`annotator_person.BOLDNESS`), and the quickest counts. With `--searches` it does not know where the errors are
(`annotator_search.py`). Of a slide with nuclei, the field
in the middle is corrected.

The actions are chosen once, by the stated times; the ratios with other times price the same actions anew.
`--report` only prints the table of existing lines. A rerun skips the lines that exist.
"""

import argparse
import json
import math
import statistics
import tempfile
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from annotator_errors import compute_score, overlook
from annotator_hand import Effort, Hand, TimeModel, choose_zoom
from annotator_person import BOLDNESS, SIGHT_PX, Annotator, Work
from annotator_search import Searcher
from numpy.typing import NDArray

from napari_medseg.core import formats
from napari_medseg.core.image import Image
from napari_medseg.core.model_card import CARD_FILE, read_card
from napari_medseg.core.model_registry import BUNDLED_MODELS, ModelRegistry
from napari_medseg.core.project.undo_journal import StrokeJournal
from napari_medseg.core.records import Case, Review, ReviewState
from napari_medseg.core.snapshot import Role
from napari_medseg.core.tasks.bundled_tasks import get_task
from napari_medseg.inference.events import PredictionOptions, get_result
from napari_medseg.inference.predictor import Predictor
from napari_medseg.inference.probabilities.stored_probabilities import StoredProbabilities
from napari_medseg.workflow.drafts import Draft
from training.data.labelled_cases import LabelledCase, pair_by_stem
from training.from_folders.base_recipe import read_model_recipe

RECIPES = Path(__file__).resolve().parents[1] / "training" / "recipes"
GOALS = {"lungs": 0.95, "covid": 0.85, "nuclei": 0.90, "instruments": 0.93}
SOURCES = {
    "lungs": ("lungs-4.json", ("ct20_whole_body", "xray_kermany")),
    "covid": ("covid-2.json", ("medseg",)),
    "nuclei": ("nuclei-2.json", ("monuseg", "dsb2018")),
    "instruments": ("instruments.json", ()),
}
"""Recipe with the split, and the sources whose hold-out images are corrected; all of them if none is named."""
FIELD_PX = 400
WAYS = {"brush from nothing": (False, False), "brush": (True, False), "all tools": (True, True)}
"""Name of a way to work: whether it starts from the model's draft, and whether it may use all tools."""
QUICKER = "quicker of the two"
"""Of the brush from the draft and the brush from nothing."""
N_RESAMPLES = 2000
Row = dict[str, Any]


def main() -> None:
    """Correct what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("annotator.jsonl"))
    parser.add_argument("--tasks", nargs="+", default=list(GOALS), choices=list(GOALS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--n", type=int, default=8, help="largest number of images of a task")
    parser.add_argument("--version", type=Path, help="folder of another version than the live one, for one task")
    parser.add_argument("--sources", nargs="+", default=[], help="others than those of the table, for one task")
    parser.add_argument("--sight-px", type=float, default=SIGHT_PX, help="what is nearer needs no other look")
    parser.add_argument("--searches", action="store_true", help="the annotator does not know where the errors are")
    parser.add_argument("--report", action="store_true", help="print the table of existing lines only")
    options = parser.parse_args()
    rows = [json.loads(line) for line in options.out.read_text().splitlines()] if options.out.exists() else []
    if not options.report:
        done = {(row["task"], row["case"], row["seed"]) for row in rows}
        for task in options.tasks:
            for row in correct_task(task, options, done):
                rows.append(row)
                with options.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")
    print(format_table(rows))


def correct_task(task: str, options: argparse.Namespace, done: set[tuple[str, str, int]]) -> Iterator[Row]:
    """Predict hold-out images of a task and correct them in each way."""
    registry = ModelRegistry(options.out.parent / "empty-registry", BUNDLED_MODELS)
    card = read_card(options.version / CARD_FILE) if options.version else registry.get_live_card(task)
    roi = registry.find_roi_model(card)
    folder = options.version or registry.get_folder(card.id)
    predictor = Predictor.load(folder, roi_folder=roi and registry.get_folder(roi.id))
    for case in choose_cases(task, options):
        missing = [seed for seed in options.seeds if (task, case.name, seed) not in done]
        if not missing:
            continue
        with tempfile.TemporaryDirectory() as folder:
            work = predict(predictor, case, task, Path(folder))
            work = replace(work, sight_px=options.sight_px, is_searched=options.searches)
            for seed in missing:
                for way in WAYS:
                    row = correct_case(work, way, seed, case.name, Path(folder))
                    yield {"task": task, "case": case.name, "seed": seed, "way": way, "model": card.id, **row}


def choose_cases(task: str, options: argparse.Namespace) -> list[LabelledCase]:
    """Hold-out images that no training saw, evenly chosen from all of them."""
    name, wanted = SOURCES[task]
    wanted, data, n = options.sources or wanted, options.data, options.n
    cases = []
    for source in read_model_recipe(RECIPES / name).sources:
        if (wanted and source.name not in wanted) or not source.labels:
            continue
        pairs = pair_by_stem(data / source.images, data / source.labels)
        roles = source.assign_roles([pair.name for pair in pairs], data)
        cases += [pair for pair in pairs if roles[pair.name][1] is Role.HOLD_OUT]
    cases = list({case.name: case for case in cases}.values())
    step = max(1, len(cases) // n)
    return cases[step // 2 :: step][:n]


def predict(predictor: Predictor, case: LabelledCase, task: str, folder: Path) -> Work:
    """Return the draft of the model with its probabilities, as the window gets them."""
    image, stored = formats.read(case.image), folder / "probabilities"
    truth = formats.read_labels(case.labels, image)
    if get_task(task).instances:
        image, truth = cut_field(image, truth)
    options = PredictionOptions(probabilities_file=stored)
    draft = get_result(predictor.predict(image, options), lambda text: None).labels
    if not get_task(task).instances:
        truth = np.where(truth == 255, 1, truth)
    probability = StoredProbabilities(stored, draft.shape) if stored.exists() else None
    return Work(get_task(task), image, draft, truth.astype(draft.dtype), probability)


def cut_field(image: Image, truth: NDArray[Any]) -> tuple[Image, NDArray[Any]]:
    """Return the middle of a large image with its labels, as a person works on fields of a slide."""
    box = tuple(slice(max(0, n - FIELD_PX) // 2, max(0, n - FIELD_PX) // 2 + FIELD_PX) for n in truth.shape)
    return replace(image, pixels=np.ascontiguousarray(image.pixels[box])), np.ascontiguousarray(truth[box])


def correct_case(
    work: Work, way: str, seed: int, name: str, folder: Path, boldnesses: Sequence[float] = BOLDNESS
) -> Row:
    """Correct one case in one way, by each boldness; return the quickest that reached the goal.

    So a person chooses how to work on a case, also to leave the tools aside; those who have none try as often. The
    errors that are overlooked are the same in all ways.
    """
    has_tools = WAYS[way][1]
    bold = boldnesses[:1] if work.task.instances else boldnesses
    tries = [(one, takes_tools) for takes_tools in (has_tools, False) for one in bold]
    best: Row | None = None
    for number, (boldness, takes_tools) in enumerate(tries):
        limit_s = price(best, TimeModel()) if best is not None and best["reached"] else math.inf
        seeds = (seed, zlib.crc32(name.encode()), number)
        row = _correct_by(
            work, (WAYS[way][0], takes_tools, has_tools), boldness, seeds, folder / f"{way}.journal", limit_s
        )
        if best is None or _rate(row) < _rate(best):
            best = row
    assert best is not None
    return best


def _rate(row: Row) -> tuple[bool, float]:
    return not row["reached"], price(row, TimeModel())


def _correct_by(
    work: Work, way: tuple[bool, bool, bool], boldness: float, seeds: tuple[int, int, int], file: Path, limit_s: float
) -> Row:
    has_draft, has_tools, is_guided = way
    start = work.draft.copy() if has_draft else np.zeros_like(work.draft)
    believed = overlook(work.draft, work.truth, work.task, np.random.default_rng(seeds[:2]))
    rng = np.random.default_rng(seeds)
    file.unlink(missing_ok=True)
    journal = StrokeJournal(file)
    case = Case(1, work.task.name, "case", "group", "hash", "YX", start.shape, None, (), False, "2026")
    draft = Draft(Review(1, 1, None, ReviewState.OPEN, 0.0, 0, "", "2026", None), case, journal, start, "")
    zoom = choose_zoom(start.shape)
    person = Searcher if work.is_searched else Annotator
    annotator = person(work, draft, believed, Hand(rng, zoom=zoom), has_tools=has_tools, boldness=boldness)
    if isinstance(annotator, Searcher):
        annotator.is_guided = is_guided
    first, goal = compute_score(start, work.truth, work.task), GOALS[work.task.name]
    last = annotator.correct(goal, limit_s)
    draft.close()
    effort = annotator.diary.effort
    return {
        "first": round(first, 4),
        "last": round(last, 4),
        "reached": last >= goal,
        "boldness": boldness,
        "with_tools": has_tools,
        "zoom": round(zoom, 3),
        "effort": asdict(effort),
        "actions": dict(annotator.diary.actions),
    }


def format_table(rows: list[Row]) -> str:
    """Median seconds per case, and the ratio of all tools to the brush with all times as stated, halved and doubled."""
    lines = ["| task | n | way | median s | reached | actions |", "|---|---|---|---|---|---|"]
    grouped: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        grouped[row["task"], row["way"]].append(row)
    for (task, way), members in sorted(grouped.items()):
        seconds = statistics.median(price(row, TimeModel()) for row in members)
        reached = sum(row["reached"] for row in members)
        counts = sum(sum(row["actions"].values()) for row in members) / len(members)
        lines.append(f"| {task} | {len(members)} | {way} | {seconds:.1f} | {reached} | {counts:.1f} |")
    columns = ("task", "tools / brush", "lowest", "highest", "95 % interval", "a look for each action")
    columns += ("tools / quicker of draft and nothing", "tools / nothing", "brush: draft / nothing")
    lines += ["", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for task in sorted({row["task"] for row in rows}):
        tools = [compute_ratio(rows, task, "all tools", "brush", model) for _, model in TimeModel().list_variants()]
        low, high = compute_interval(rows, task)
        each = [row | {"effort": row["effort"] | {"looks": sum(row["actions"].values())}} for row in rows]
        others = (
            compute_ratio(each, task, "all tools", "brush", TimeModel()),
            compute_ratio([*rows, *list_quicker(rows)], task, "all tools", QUICKER, TimeModel()),
            compute_ratio(rows, task, "all tools", "brush from nothing", TimeModel()),
            compute_ratio(rows, task, "brush", "brush from nothing", TimeModel()),
        )
        cells = [f"{value:.2f}" for value in (tools[0], min(tools), max(tools))]
        lines.append(f"| {task} | {' | '.join([*cells, f'{low:.2f}-{high:.2f}', *(f'{one:.2f}' for one in others)])} |")
    return "\n".join(lines)


def list_quicker(rows: list[Row]) -> list[Row]:
    """Return for each case the quicker of the two ways with the brush: a person may wipe a bad draft away first."""
    of: dict[tuple[str, str, int], list[Row]] = defaultdict(list)
    for row in rows:
        if row["way"] != "all tools":
            of[row["task"], row["case"], row["seed"]].append(row)
    return [min(found, key=_rate) | {"way": QUICKER} for found in of.values()]


def compute_ratio(rows: list[Row], task: str, way: str, other: str, model: TimeModel) -> float:
    """Total seconds in one way, divided by those in another, of the cases in which both reached the goal."""
    pairs = pair_seconds(rows, task, way, other, model)
    total = float(pairs[:, 1].sum())
    return float(pairs[:, 0].sum()) / total if total else float("nan")


def pair_seconds(rows: list[Row], task: str, way: str, other: str, model: TimeModel) -> NDArray[np.float64]:
    """Return the seconds (n, 2) in two ways of the cases in which both reached the goal."""
    of: dict[str, dict[tuple[str, int], float]] = {way: {}, other: {}}
    for row in rows:
        if row["task"] == task and row["way"] in of and row["reached"]:
            of[row["way"]][row["case"], row["seed"]] = price(row, model)
    both = [key for key in of[way] if key in of[other]]
    return np.array([[of[way][key], of[other][key]] for key in both], np.float64).reshape(-1, 2)


def compute_interval(rows: list[Row], task: str) -> tuple[float, float]:
    """Return the 95 % bootstrap interval over images of the ratio of all tools to the brush."""
    pairs = pair_seconds(rows, task, "all tools", "brush", TimeModel())
    if not len(pairs):
        return float("nan"), float("nan")
    drawn = np.random.default_rng(0).integers(0, len(pairs), (N_RESAMPLES, len(pairs)))
    sums = pairs[drawn].sum(axis=1)
    low, high = np.percentile(sums[:, 0] / sums[:, 1], (2.5, 97.5))
    return float(low), float(high)


def price(row: Row, model: TimeModel) -> float:
    """Seconds of a row under a time model; one look at a case that needs nothing."""
    effort = Effort(**row["effort"])
    return (effort if effort.looks else Effort(looks=1)).compute_seconds(model, row["zoom"])


if __name__ == "__main__":
    main()
