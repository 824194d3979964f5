"""What the data of a task are: numbers of cases and groups, kinds of image, spacing, and the hold-out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_medseg.core.atomic_io import read_file
from napari_medseg.core.json_model import parse_json
from napari_medseg.core.project.case_files import get_image_copy_path
from napari_medseg.core.project.case_history import CaseHistory
from napari_medseg.core.records import Case, ReviewState


@dataclass(frozen=True)
class Range:
    """Smallest and largest of some values."""

    low: float
    high: float

    def format(self, digits: int = 3) -> str:
        """Return ``0.7`` or ``0.5 to 0.9``, with so many significant digits."""
        low, high = f"{self.low:.{digits}g}", f"{self.high:.{digits}g}"
        return low if low == high else f"{low} to {high}"


@dataclass(frozen=True)
class DataCard:
    """The data of one task.

    `kinds` counts the kinds of image, such as ``CT, 12 slices``. `spacing_mm` has the range of each axis, by name.
    """

    n_cases: int
    n_accepted: int
    n_rejected: int
    n_imported: int
    n_groups: int
    n_held_out_groups: int
    n_held_out_cases: int
    n_held_out_accepted: int
    kinds: dict[str, int]
    spacing_mm: dict[str, Range]
    n_without_spacing: int

    @property
    def coverage(self) -> float | None:
        """Share of the accepted cases that are held out; `None` without accepted cases."""
        return self.n_held_out_accepted / self.n_accepted if self.n_accepted else None


def build_data_card(folder: Path, histories: Sequence[CaseHistory]) -> DataCard:
    """Describe the cases of a task; only rows and the small files beside image copies are read."""
    cases = [history.case for history in histories]
    accepted = [history for history in histories if is_closed_as(history, ReviewState.ACCEPTED)]
    imported = [history for history in accepted if history.correction is not None and history.correction.imported]
    held_out = [case for case in cases if case.held_out]
    return DataCard(
        n_cases=len(cases),
        n_accepted=len(accepted),
        n_rejected=sum(is_closed_as(history, ReviewState.REJECTED) for history in histories),
        n_imported=len(imported),
        n_groups=len({case.group for case in cases}),
        n_held_out_groups=len({case.group for case in held_out}),
        n_held_out_cases=len(held_out),
        n_held_out_accepted=sum(history.case.held_out for history in accepted),
        kinds=dict(Counter(_describe_kind(folder, case) for case in cases).most_common()),
        spacing_mm=_find_spacing(cases),
        n_without_spacing=sum(case.spacing_mm is None for case in cases),
    )


def is_closed_as(history: CaseHistory, state: ReviewState) -> bool:
    """Whether the last closed review of a case ended in a state."""
    return history.closed_review is not None and history.closed_review.state is state


def _describe_kind(folder: Path, case: Case) -> str:
    shape = "volume" if case.axes.startswith("Z") else "2D image"
    colour = "colour" if case.axes.endswith("C") else "grey"
    return ", ".join(filter(None, (_read_modality(folder, case), shape, colour)))


def _read_modality(folder: Path, case: Case) -> str:
    """Return the modality of a case that was accepted; empty for others, whose images are not in the project."""
    try:
        modality = parse_json(read_file(get_image_copy_path(folder, case.content_hash).with_suffix(".json")))[
            "modality"
        ]
    except (OSError, ValueError, TypeError, LookupError):
        return ""
    return modality if isinstance(modality, str) and len(modality) <= 16 else ""


def _find_spacing(cases: Sequence[Case]) -> dict[str, Range]:
    names = {"Z": "between slices", "Y": "rows", "X": "columns"}
    values: dict[str, list[float]] = {}
    for case in cases:
        for axis, size in zip(case.spatial_axes, case.spacing_mm or (), strict=False):
            values.setdefault(names[axis], []).append(size)
    return {name: Range(min(found), max(found)) for name, found in values.items()}
