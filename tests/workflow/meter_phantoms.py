"""Rows of the meter without a project, with exact seconds and edited shares."""

from collections.abc import Sequence

from napari_medseg.core.readings.records import DraftAgreement
from napari_medseg.core.records import Case, Correction
from napari_medseg.workflow.meter.kinds import describe_kind
from napari_medseg.workflow.meter.rows import MeterRow

OLD, NEW = "lungs-unet@1", "lungs-unet@2"


def make_case(number: int = 1, n_slices: int = 0) -> Case:
    axes, shape = ("ZYX", (n_slices, 64, 64)) if n_slices else ("YX", (64, 64))
    return Case(number, "lungs", f"case {number}", "p", f"{number:064x}", axes, shape, None, (), False, "")


def make_row(model: str, seconds: float, who: str = "reader 1", n_slices: int = 0, share: float = 0.1) -> MeterRow:
    case = make_case(n_slices=n_slices)
    correction = Correction(1, 1, 1, model, "", "", "", seconds, round(1000 * share), who, "")
    return MeterRow(case, correction, describe_kind(case), DraftAgreement(1, 1, 1 - share, 1000, ""), is_repeat=False)


def make_rows(model: str, seconds: Sequence[float], **changes: str) -> list[MeterRow]:
    return [make_row(model, one, **changes) for one in seconds]
