"""HTML reports, each in one file that works offline: tables and figures for the templates of `training`."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from napari_medseg.core.html_templates import render_html
from training.reports.case_figure import CaseFigure

Cell = str | int | float


@dataclass(frozen=True)
class Table:
    """A table of `parts.html`; fractions are shown with four digits."""

    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Figure:
    """A figure in the page: `source` is a PNG as a data URI."""

    source: Annotated[str, Field(pattern="^data:image/png;base64,[A-Za-z0-9+/]+=*$")]
    caption: str


def render_page(template: str, title: str, values: Mapping[str, object]) -> str:
    """Fill a template of ``training/templates``, which extends `page.html`; each value is escaped."""
    return render_html("training", template, {"title": title, **values})


def make_figure(rgb: NDArray[np.uint8], caption: str) -> Figure:
    """Make a figure of an RGB array (y, x, 3), uint8."""
    data = base64.b64encode(imagecodecs.png_encode(np.ascontiguousarray(rgb))).decode()
    return Figure(f"data:image/png;base64,{data}", caption)


def make_case_figures(case_figures: Iterable[CaseFigure], row: str = "") -> list[Figure]:
    """Make figures of cases; if several models are compared, `row` names the model."""
    prefix = f"{row}, " if row else ""
    return [make_figure(case.rgb, f"{prefix}{case.name}: Dice {case.dice:.4f}") for case in case_figures]
