"""What `report.html` of a run shows, as plain data in `report.json`, and the page that is made of it. No torch here.

A run on a server sends the data and no page: a page could hold scripts, and pictures that tell others when it is
opened. Of data that were checked, the template makes a page with neither.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError

from napari_medseg.core.errors import MedSegError
from training.reports.html import Figure, Table, render_page
from training.reports.svg_charts import Chart
from training.run_folder import REPORT_DATA_FILE, REPORT_FILE


@dataclass(frozen=True)
class RunPage:
    """Texts, charts, tables and figures in the order of the page; empty or `None` if a part is left out.

    `model` is the new version, and `baseline` the one that it is compared with.
    """

    model: str
    baseline: str
    tiles: Sequence[tuple[str, str]]
    verdict: str
    lineage: str
    data: str
    notices: Sequence[str]
    curves: Sequence[Chart]
    candidates: Table | None
    labels: Table | None
    reliability: Chart | None
    comparison: Table | None
    worst: Sequence[Figure]
    best: Sequence[Figure]
    __pydantic_config__ = ConfigDict(extra="forbid")


_PAGE = TypeAdapter(RunPage)


def write_page_data(run_dir: Path, page: RunPage) -> Path:
    """Write what the page shows; return the path."""
    path = run_dir / REPORT_DATA_FILE
    path.write_text(json.dumps(asdict(page), default=_make_plain), encoding="utf-8")
    return path


def _make_plain(value: object) -> object:
    """Return a number of NumPy as one of Python."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a report shows texts and numbers, not {type(value).__name__}")


def read_page_data(path: Path) -> RunPage:
    """Read what a page shows, which may come from another computer.

    Raises
    ------
    MedSegError
        If it is none, or names anything but texts, numbers, colours and PNG pictures.
    """
    try:
        return _PAGE.validate_json(path.read_bytes())
    except ValidationError as error:
        raise MedSegError(f"{path.name} is not the content of a report. Train again.") from error


def write_page(run_dir: Path, page: RunPage) -> Path:
    """Write the page; return its path."""
    path = run_dir / REPORT_FILE
    values = {name: getattr(page, name) for name in page.__dataclass_fields__}
    path.write_text(render_page("run_report.html", f"Training run of {page.model}", values), encoding="utf-8")
    return path
