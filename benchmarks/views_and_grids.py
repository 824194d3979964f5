"""What a version gains from mirrored views, another grid of pixels or another threshold, on validation images.

`python benchmarks/views_and_grids.py RUN_DIR --version FOLDER --out FILE.jsonl` predicts each validation image of a run
in each way: the logits of a view are turned back and averaged with the others; on another grid the planes are
resampled before the network and the logits after it. A mirrored chest has exchanged sides, so their classes are
exchanged, too. With a threshold, a pixel has a label where the probabilities of all labels together exceed it, and of
these the most probable one; without it, a pixel has the most probable of all classes. One line of JSON for each image
and way: the mean Dice, the Dice of all labels as one, of objects AJI and PQ, and the seconds of the processor. Lines
that exist are not made again. At the end the means by source are printed, and the mean gain over the plain way with a
bootstrap interval over images. `--max-side` changes this number of the card, too.

Use `--role hold_out` only to report what was chosen before.
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_medseg.core.image import Image
from napari_medseg.core.quality.metrics import compute_bootstrap_interval
from napari_medseg.core.snapshot import Role, read_snapshot
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.inference.events import PredictionEvent
from napari_medseg.inference.predictor import Predictor, load_roi_predictor
from napari_medseg.networks import load_version
from training.evaluation.evaluate import LoadedCase, load_case, score_labels
from training.evaluation.hold_out_evaluation import make_labelled_case
from training.recipe import read_recipe
from training.run_folder import RECIPE_FILE, SNAPSHOT_FILE

HEIGHT, WIDTH = -2, -1
MULTIPLE_PX = 32
"""Sides of what the network takes."""


@dataclass(frozen=True)
class Way:
    """How the network is asked.

    Views are named by the axes along which they are turned. `scale` is that of the plane. `threshold` is the summed
    probability of all labels from which a pixel has one.
    """

    views: tuple[tuple[int, ...], ...] = ((),)
    scale: float = 1.0
    threshold: float | None = None


PLAIN = "plain"
WAYS = {
    PLAIN: Way(),
    "mirrored": Way(((), (WIDTH,))),
    "four views": Way(((), (WIDTH,), (HEIGHT,), (HEIGHT, WIDTH))),
    "grid 0.75": Way(scale=0.75),
    "grid 1.25": Way(scale=1.25),
    "grid 1.5": Way(scale=1.5),
    "grid 2": Way(scale=2.0),
    "sum 0.5": Way(threshold=0.5),
    "sum 0.4": Way(threshold=0.4),
    "sum 0.3": Way(threshold=0.3),
}


class AskedOtherwise(nn.Module):
    """A network that is asked in a certain way; its logits (n, classes, h, w) are those of the planes it is given."""

    def __init__(self, network: nn.Module, way: Way, sides: tuple[int, int] | None, with_objects: bool) -> None:
        super().__init__()
        self.network = network
        self._way, self._sides, self._with_objects = way, sides, with_objects

    def forward(self, planes: Tensor) -> Tensor:
        """Return the mean logits of all views."""
        shape, resampled = planes.shape[-2:], planes
        if self._way.scale != 1:
            size = [max(1, round(side * self._way.scale / MULTIPLE_PX)) * MULTIPLE_PX for side in shape]
            resampled = functional.interpolate(planes, size=size, mode="bilinear", antialias=self._way.scale < 1)
        answers = [self._ask(resampled, axes) for axes in self._way.views]
        mean = self._move_threshold(torch.stack(answers).mean(dim=0))
        return mean if mean.shape[-2:] == shape else functional.interpolate(mean, size=shape, mode="bilinear")

    def _ask(self, planes: Tensor, axes: tuple[int, ...]) -> Tensor:
        answer: Tensor = self.network(planes.flip(axes)).flip(axes)
        if WIDTH in axes and self._sides is not None:
            order = list(range(answer.shape[1]))
            first, second = self._sides
            order[first], order[second] = second, first
            answer = answer[:, order]
        return answer

    def _move_threshold(self, logits: Tensor) -> Tensor:
        """Return logits of which background is the largest where all labels together are below the threshold.

        Of objects the predictor itself adds the labels, which are levels of depth.
        """
        if self._way.threshold is None:
            return logits
        background, labels = logits[:, :1], logits[:, 1:]
        together = labels.logsumexp(dim=1, keepdim=True)
        compared = together if self._with_objects else labels.amax(dim=1, keepdim=True)
        odds = math.log(self._way.threshold / (1 - self._way.threshold))
        return torch.cat([background - together + compared + odds, labels], dim=1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing, then print the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--version", type=Path, help="folder of the version; without it, that of the run")
    parser.add_argument("--role", type=Role, default=Role.VALIDATE)
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--max-side", type=int, help="longest side of a plane that is not reduced, px; else the card's")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    snapshot = read_snapshot(options.run_dir / SNAPSHOT_FILE)
    task = snapshot.task_definition
    network, card = load_version(options.version or options.run_dir)
    mark = ""
    if options.max_side is not None:
        changed = card.preprocessing.model_copy(update={"max_side_px": options.max_side})
        card, mark = card.model_copy(update={"preprocessing": changed}), f", up to {options.max_side} px"
    roi = load_roi_predictor(read_recipe(options.run_dir / RECIPE_FILE).find_roi_folder(options.run_dir), "cpu")
    if roi is not None:
        keep_last_prediction(roi)
    asked = {name + mark: AskedOtherwise(network, WAYS[name], task.sides, task.instances) for name in options.ways}
    predictors = {name: Predictor(one, card, "cpu", roi_predictor=roi) for name, one in asked.items()}
    known = {(row["model"], row["name"], row["way"]) for row in read_rows(options.out)}
    for item in snapshot.filter_by_role(options.role):
        missing = [name for name in predictors if (card.id, item.name, name) not in known]
        if not missing:
            continue
        loaded = load_case(make_labelled_case(item, options.run_dir))
        for name in missing:
            row = {"model": card.id, "source": item.source, "name": item.name, "way": name}
            row |= measure(predictors[name], loaded, task)
            with options.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
    for line in summarise([row for row in read_rows(options.out) if row["model"] == card.id]):
        print(json.dumps(line), flush=True)


def keep_last_prediction(predictor: Predictor) -> None:
    """Let a predictor answer at once if it is asked for the same image again: all ways share a region of interest."""
    predict = predictor.predict
    kept: list[Any] = []

    def predict_once(image: Image) -> Iterator[PredictionEvent]:
        if not kept or kept[0] is not image:
            kept[:] = [image, list(predict(image))]
        yield from kept[1]

    predictor.predict = predict_once  # type: ignore[method-assign, assignment]


def measure(predictor: Predictor, loaded: LoadedCase, task: Task) -> dict[str, Any]:
    """Return the scores of one prediction, and the seconds of the processor that it took."""
    began = time.process_time()
    predicted = predictor.predict_labels(loaded.image)
    seconds = time.process_time() - began
    score = score_labels(loaded, predicted, task, predictor.card.architecture.classes).score
    row: dict[str, Any] = {"seconds": round(seconds, 3), "dice": score.mean_dice, "any": score.foreground_dice}
    row |= {name: score.dice[name] for name in score.in_reference or ()}
    return row if score.objects is None else row | {"aji": score.objects.aji, "pq": score.objects.pq}


def summarise(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the mean of each measure for each source and way, and its gain over the plain way with an interval."""
    lines = []
    plain = {row["name"]: row for row in rows if row["way"] == PLAIN}
    for source in dict.fromkeys(row["source"] for row in rows):
        for way in dict.fromkeys(row["way"] for row in rows if row["source"] == source):
            mine = [row for row in rows if (row["source"], row["way"]) == (source, way)]
            line: dict[str, Any] = {"model": mine[0]["model"], "source": source, "way": way, "n": len(mine)}
            for key in dict.fromkeys(key for row in mine for key in row):
                if key in ("model", "source", "name", "way"):
                    continue
                values = [row[key] for row in mine if key in row]
                gains = [row[key] - plain[row["name"]][key] for row in mine if key in row and row["name"] in plain]
                line[key] = round(statistics.fmean(values), 4)
                if way != PLAIN and key != "seconds" and gains:
                    low, high = compute_bootstrap_interval(gains)
                    line[f"gain of {key}"] = [round(value, 4) for value in (statistics.fmean(gains), low, high)]
            lines.append(line)
    return lines


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a file of results; none if it does not exist."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


if __name__ == "__main__":
    main()
