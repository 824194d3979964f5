"""The result table of a suite: one line per row, read from the run folders, as CSV, Markdown and HTML."""

import csv
import io
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_medseg.core.atomic_io import atomic_write, atomic_write_text
from napari_medseg.core.errors import MedSegError, report_damage, translate_errors
from napari_medseg.core.snapshot import read_snapshot
from napari_medseg.core.tasks.bundled_tasks import get_task
from napari_medseg.inference.predictor import Predictor
from training.benchmark.runner import PlannedRun
from training.benchmark.suite import Suite
from training.checkpoint import choose_run_device
from training.evaluation.evaluate import evaluate_case
from training.evaluation.hold_out_evaluation import choose_examples, make_labelled_case
from training.evaluation.run_cost import read_cost
from training.recipe import read_recipe
from training.reports import html, svg_charts
from training.reports.case_figure import CaseFigure, draw_case_figure, read_case_figures
from training.reports.evaluation_report import CONVENTION, read_image_scores
from training.run_folder import (
    EXAMPLE_FIGURES_FILE,
    RECIPE_FILE,
    SNAPSHOT_FILE,
    EpochEnded,
    read_events,
)
from training.run_setup import split_by_role

ImageScores = dict[str, float | str]
METRIC_TITLES = {
    "mean_dice": "Dice",
    "foreground_dice": "Dice, labels as one",
    "miou": "mean IoU",
    "agreement": "accuracy",
    "aji": "AJI",
    "pq": "PQ",
    "f1": "F1 of objects",
}
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


@dataclass(frozen=True)
class TableRow:
    """One row of the table; `values` by column. A failed row has a message and no values."""

    planned: PlannedRun
    values: dict[str, html.Cell]
    message: str = ""


def read_table_rows(planned: Sequence[PlannedRun], failures: Mapping[str, str]) -> list[TableRow]:
    """Read the results of all completed rows; `failures` are messages by row name. A damaged row is a failed one."""
    lines = []
    for one in planned:
        message, values = failures.get(one.row.name, ""), {}
        try:
            with translate_errors():
                values = _read_values(one.run_dir) if one.is_done and not message else {}
        except MedSegError as error:
            message = str(error)
        lines.append(TableRow(one, values, message))
    return lines


def write_tables(
    suite: Suite, lines: Sequence[TableRow], command: str, out: Path, figures: "FiguresByRow"
) -> list[Path]:
    """Write `table.csv`, `table.md` and `table.html`; return their paths.

    Parameters
    ----------
    suite, lines
        The suite and its results.
    command
        Command to run the suite again.
    out
        Output folder.
    figures
        Figures of the same cases for each row, by row name.
    """
    header = _header(lines)
    paths = [out / f"table.{suffix}" for suffix in ("csv", "md", "html")]
    table = io.StringIO(newline="")
    csv.writer(table).writerows([header, *(_format_cells(line, header) for line in lines)])
    with atomic_write(paths[0]) as beside:
        beside.write_bytes(table.getvalue().encode())
    atomic_write_text(paths[1], _render_markdown(suite, header, lines, command))
    atomic_write_text(paths[2], _render_page(suite, header, lines, command, figures))
    return paths


FiguresByRow = Mapping[str, Sequence[CaseFigure]]


def _read_values(run_dir: Path) -> dict[str, html.Cell]:
    images, cost = read_image_scores(run_dir), read_cost(run_dir)
    epochs = sum(isinstance(event, EpochEnded) for event, _ in read_events(run_dir))
    values: dict[str, html.Cell] = {"images": len(images), **_compute_means(images)}
    values |= {"epochs": epochs, "seconds": round(cost.seconds), "memory MB": round(cost.peak_mb)}
    return values | {"parameters, millions": round(cost.parameters / 1e6, 2)}


def _compute_means(images: Sequence[ImageScores]) -> dict[str, html.Cell]:
    """Return the mean of each metric over images; the mean Dice also for each source, if there are several."""
    values: dict[str, html.Cell] = {
        title: _mean(images, column) for column, title in METRIC_TITLES.items() if column in images[0]
    }
    sources = sorted({str(image["source"]) for image in images})
    for source in sources if len(sources) > 1 else ():
        values[f"Dice on {source}"] = _mean([image for image in images if image["source"] == source], "mean_dice")
    values["IoU, labels as one"] = statistics.fmean(_iou_from_dice(float(image["foreground_dice"])) for image in images)
    labels = [column.removeprefix("dice_") for column in images[0] if column.startswith("dice_")]
    for label in labels if len(labels) > 1 else ():
        counting = [image for image in images if image[f"dice_{label}"] != ""]
        if counting and not _is_absent(counting, label):
            name = label.replace("_", " ")
            of_label = {"Dice": "dice", "IoU": "iou", "accuracy": "accuracy"}
            values |= {f"{title} {name}": _mean(counting, f"{key}_{label}") for title, key in of_label.items()}
            values |= _compute_mean_hd95(counting, [label], f"HD95 {name}")
    return values | _compute_mean_hd95(images, labels, "HD95")


def _compute_mean_hd95(images: Sequence[ImageScores], labels: Sequence[str], title: str) -> dict[str, html.Cell]:
    """Return the mean over all images and labels with a distance, with its unit; empty if there is none."""
    found = [float(image[f"hd95_{label}"]) for image in images for label in labels if image[f"hd95_{label}"] != ""]
    return {f"{title} {images[0]['unit']}": statistics.fmean(found)} if found else {}


def _is_absent(images: Sequence[ImageScores], label: str) -> bool:
    """Whether the label is absent from all predictions and references, so that its scores have no meaning."""
    return all(str(image[f"dice_{label}"]) in ("1", "1.0") and image[f"hd95_{label}"] == "" for image in images)


def _iou_from_dice(dice: float) -> float:
    return dice / (2.0 - dice)


def _mean(images: Sequence[ImageScores], column: str) -> float:
    return statistics.fmean(float(image[column]) for image in images)


def _header(lines: Sequence[TableRow]) -> list[str]:
    columns = list(dict.fromkeys(column for line in lines for column in line.values))
    return ["row", *columns, "theirs, on their data"]


def _format_cells(line: TableRow, header: Sequence[str]) -> list[html.Cell]:
    name = f"{line.planned.row.name} (recommended)" if line.planned.row.recommended else line.planned.row.name
    if line.message:
        name = f"{name}: failed, {line.message}"
    return [name, *(line.values.get(column, "") for column in header[1:-1]), line.planned.row.theirs]


def _render_markdown(suite: Suite, header: Sequence[str], lines: Sequence[TableRow], command: str) -> str:
    def text(cell: html.Cell) -> str:
        return f"{cell:.3f}" if isinstance(cell, float) else str(cell).replace("|", "/").replace("\n", " ")

    rows = [header, ["---"] * len(header), *(_format_cells(line, header) for line in lines)]
    table = "\n".join(f"| {' | '.join(text(cell) for cell in row)} |" for row in rows)
    return f"## {suite.title}\n\n{suite.about} F1 of pixels is the Dice.\n\n`{command}`\n\n{table}\n"


def _render_page(
    suite: Suite, header: Sequence[str], lines: Sequence[TableRow], command: str, pictures: FiguresByRow
) -> str:
    curves = []
    for index, line in enumerate(lines):
        events = [event for event, _ in read_events(line.planned.run_dir)]
        points = [(event.epoch, event.val_dice) for event in events if isinstance(event, EpochEnded)]
        curves.append(svg_charts.draw_curve(line.planned.row.name, points, COLOURS[index % len(COLOURS)]))
    names = [line.planned.row.name for line in lines]
    values = {
        "suite": suite,
        "command": command,
        "convention": CONVENTION,
        "lines": html.Table(header, [_format_cells(line, header) for line in lines]),
        "curves": [curve for curve in curves if curve is not None],
        "figures": [figure for name in names for figure in html.make_case_figures(pictures.get(name, ()), name)],
    }
    return html.render_page("suite_table.html", suite.title, values)


def read_suite_figures(planned: Sequence[PlannedRun]) -> Iterator[tuple[str, list[CaseFigure]]]:
    """Yield the name of each completed row, with figures of the first and the middle case of its hold-out."""
    for one in planned:
        if one.is_done:
            path = one.run_dir / EXAMPLE_FIGURES_FILE
            try:
                with translate_errors():
                    figures = read_case_figures(path) if path.exists() else _draw_row_figures(one)
            except MedSegError as error:  # the numbers of the row are shown without them
                report_damage(f"the figures of {one.row.name} are left out: {error}")
                continue
            yield one.row.name, figures


def _draw_row_figures(one: PlannedRun) -> list[CaseFigure]:
    """Draw the figures of a row that was evaluated by an older program version, which did not store figures."""
    recipe, snapshot = read_recipe(one.run_dir / RECIPE_FILE), read_snapshot(one.run_dir / SNAPSHOT_FILE)
    device, _ = choose_run_device(recipe, one.run_dir)
    predictor = Predictor.load(one.run_dir, device, recipe.find_roi_folder(one.run_dir))
    task, chosen = get_task(snapshot.task), choose_examples(split_by_role(snapshot).hold_out)
    return [
        draw_case_figure(evaluate_case(predictor, make_labelled_case(item, one.run_dir), task), task) for item in chosen
    ]
