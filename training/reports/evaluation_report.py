"""Write an evaluation as files: one row per image (CSV), everything (JSON), and a page with figures (HTML)."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from napari_medseg.core.atomic_io import atomic_write, atomic_write_text
from napari_medseg.core.json_model import read_json_model
from napari_medseg.core.model_card import Score
from training.evaluation.scores import CaseScore, Evaluation
from training.reports import html
from training.reports.case_figure import CaseFigure
from training.run_folder import EVALUATION_FILE, EVALUATION_REPORT_FILE, EVALUATION_TABLE_FILE

N_SHOWN_EACH = 3
LABEL_METRICS = ("dice", "iou", "precision", "recall", "accuracy", "hd95", "mean_distance")
OBJECT_METRICS = ("aji", "pq", "dq", "sq", "f1", "n_predicted", "n_reference")
CONVENTION = (
    "If a label is absent from both the prediction and the reference, it scores 1. If it is present in only one of "
    "them, it scores 0. A label that occurs in no reference of the set has no score and does not count in the mean. No "
    "distance is computed in these cases. F1 of voxels equals the Dice. Accuracy, precision and "
    "recall use all voxels of the image. Objects match if their IoU is above 0.5."
)


def write_evaluation(evaluation: Evaluation, folder: Path, case_figures: Sequence[CaseFigure] = ()) -> list[Path]:
    """Write `evaluation.csv`, `.json` (with the summary) and `.html`; return their paths."""
    paths = [folder / name for name in (EVALUATION_TABLE_FILE, EVALUATION_FILE, EVALUATION_REPORT_FILE)]
    header, rows = _build_table(evaluation)
    table = io.StringIO(newline="")
    csv.writer(table).writerows([header, *rows])
    content = {
        "model": evaluation.model,
        "task": evaluation.task,
        "convention": CONVENTION,
        "does_not_occur": list(evaluation.absent_labels),
        "summary": [score.model_dump() for score in evaluation.summarise_for_tables()],
        "images": [dict(zip(header, row, strict=True)) for row in rows],
    }
    with atomic_write(paths[0]) as beside:
        beside.write_bytes(table.getvalue().encode())
    atomic_write_text(paths[1], json.dumps(content, indent=2) + "\n")
    atomic_write_text(paths[2], _build_page(evaluation, header, rows, case_figures))
    return paths


class _EvaluationFile(BaseModel):
    """What is read again of `evaluation.json`: a row of each image, whose columns are those of `evaluation.csv`."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    images: list[dict[str, float | str]] = Field(min_length=1)

    @model_validator(mode="after")
    def _has_all_columns(self) -> Self:
        columns = self.images[0].keys()
        labels = [column.removeprefix("dice_") for column in columns if column.startswith("dice_")]
        needed = {*_NUMBERS, *_TEXTS, *(f"{metric}_{label}" for metric in LABEL_METRICS for label in labels)}
        if missing := sorted(needed - columns):
            raise ValueError(f"the columns {missing} are missing")
        for image in self.images:
            if image.keys() != columns:
                raise ValueError(f"the images have different columns: {sorted(image.keys() ^ columns)}")
            if wrong := sorted(column for column in columns if not _is_plausible(column, image[column])):
                raise ValueError(f"the columns {wrong} hold no number, or a number in place of text")
        return self


_TEXTS = ("name", "source", "unit")
_NUMBERS = ("mean_dice", "foreground_dice")
_MEASURES = frozenset((*_NUMBERS, "miou", "agreement", *OBJECT_METRICS))


def _is_plausible(column: str, value: float | str) -> bool:
    """Whether a column may hold the value; a label that does not count has an empty text in place of a number."""
    is_number = isinstance(value, float)
    if column in _MEASURES:
        return is_number
    of_label = column.startswith(tuple(f"{metric}_" for metric in LABEL_METRICS))
    return (is_number or value == "") if of_label else (column not in _TEXTS or not is_number)


def read_image_scores(folder: Path) -> list[dict[str, float | str]]:
    """Read the row of each image of an evaluation; raise `MedSegError` if the file is missing or damaged."""
    advice = f"Delete the folder {folder} to train and evaluate again."
    return read_json_model(folder / EVALUATION_FILE, _EvaluationFile, "is not an evaluation", advice).images


def choose_cases_to_show(scores: Sequence[CaseScore], n_each: int = N_SHOWN_EACH) -> dict[str, str]:
    """Choose the cases to show by their mean Dice: map each name to `"worst"`, `"median"` or `"best"`."""
    ranked = sorted(scores, key=lambda score: score.mean_dice)
    middle = max(0, (len(ranked) - n_each) // 2)
    places = {"best": ranked[-n_each:], "median": ranked[middle : middle + n_each], "worst": ranked[:n_each]}
    return {score.name: place for place, chosen in places.items() for score in chosen}


def describe_absent_labels(evaluation: Evaluation) -> str:
    """Return which labels occur in no reference, as a sentence; empty if all occur."""
    names = evaluation.absent_labels
    if not names:
        return ""
    if set(names) == {name for score in evaluation.scores for name in score.dice}:
        return "No label occurs in the references, so there are no scores."
    return f"{', '.join(names)}: does not occur in the references, so it has no score."


def _build_page(
    evaluation: Evaluation, header: list[str], rows: list[list[Any]], case_figures: Sequence[CaseFigure]
) -> str:
    places, by_dice = choose_cases_to_show(evaluation.scores), sorted(case_figures, key=lambda figure: figure.dice)
    columns = ["measure", "source", "images", "groups", "mean", "worst", "95 % from", "to", "swapped sides"]
    values = {
        "convention": f"{CONVENTION} {describe_absent_labels(evaluation)}".rstrip(),
        "summary": html.Table(columns, [_build_summary_row(score) for score in evaluation.summarise_for_tables()]),
        "figures_by_place": {
            place: html.make_case_figures(figure for figure in ranked if places.get(figure.name) == place)
            for place, ranked in (("worst", by_dice), ("median", by_dice), ("best", by_dice[::-1]))
        },
        "images": html.Table(header, sorted(rows, key=lambda row: row[header.index("mean_dice")])),
    }
    return html.render_page("evaluation.html", f"{evaluation.model} on {evaluation.task}", values)


def _build_summary_row(score: Score) -> list[str | int | float]:
    figures = (score.mean, score.worst, score.ci_low, score.ci_high)
    return [score.metric, score.dataset, score.n_images, score.n_groups, *figures, score.swapped_sides]


def _get_value(score: CaseScore, kind: str, label: str) -> float | str:
    """Return the value of a metric for a label; empty if it has none, or if the label does not count."""
    value: float | str = "" if label in score.absent else getattr(score, kind).get(label, "")
    return value


def _build_table(evaluation: Evaluation) -> tuple[list[str], list[list[Any]]]:
    labels = list(dict.fromkeys(name for score in evaluation.scores for name in score.dice))
    with_objects = any(score.objects is not None for score in evaluation.scores)
    objects = OBJECT_METRICS if with_objects else ()
    header = ["name", "group", "source", "mean_dice", "miou", "agreement", "foreground_dice", *objects]
    header += [f"{kind}_{name}".replace(" ", "_") for kind in LABEL_METRICS for name in labels]
    rows = []
    for score in evaluation.scores:
        row: list[Any] = [score.name, score.group, score.source, score.mean_dice, score.miou, score.agreement]
        row += [score.foreground_dice]
        row += ["" if score.objects is None else getattr(score.objects, figure) for figure in objects]
        row += [_get_value(score, kind, name) for kind in LABEL_METRICS for name in labels]
        rows.append([*row, score.unit, int(score.swapped), round(score.seconds, 3)])
    return [*header, "unit", "swapped", "seconds"], rows
