"""The words of the project, as frozen types: one meaning each, the same in code, database, window and README."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum


class ReviewState(StrEnum):
    """Where one person's pass over a case stands."""

    OPEN = "open"
    ACCEPTED = "accepted"
    REJECTED = "rejected"


class RunState(StrEnum):
    """Where a training run stands."""

    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    FAILED = "failed"
    PROMOTED = "promoted"
    KEPT_OLD = "kept_old"
    DISCARDED = "discarded"


@dataclass(frozen=True)
class Case:
    """One image with content hash, patient/slide/video group and geometry.

    `shape`, `axes` and `spacing_mm` are those of the canonical image; `sources` are the files, in slice order;
    `held_out` says that no retrain ever trains on it.
    """

    id: int
    task: str
    name: str
    group: str
    content_hash: str
    axes: str
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...] | None
    sources: tuple[str, ...]
    held_out: bool
    created: str

    @property
    def spatial_axes(self) -> str:
        """The axes without C."""
        return self.axes.replace("C", "")

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """Shape of the labels that belong to this case, (y, x) or (z, y, x)."""
        return self.shape[: len(self.spatial_axes)]


@dataclass(frozen=True)
class Prediction:
    """Labels by one model version for one case; files are relative to the project folder.

    `field_file` holds the labels of the field that was found first, by `field_model`; both empty where there is none.
    """

    id: int
    case_id: int
    model: str
    labels_file: str
    sha256: str
    seconds: float
    uncertainty: float | None
    created: str
    field_file: str = ""
    field_model: str = ""


@dataclass(frozen=True)
class Review:
    """One person's pass over a case: open, then accepted or rejected, with the seconds they worked on it."""

    id: int
    case_id: int
    prediction_id: int | None
    state: ReviewState
    seconds: float
    changed_voxels: int
    who: str
    opened: str
    closed: str | None


@dataclass(frozen=True)
class Correction:
    """The immutable labels that an accepted review produced; files are relative to the project folder.

    `reviewed_file` is not 0 where the person looked, on the grid of the labels; empty where that is everywhere.
    """

    id: int
    review_id: int
    case_id: int
    model: str
    image_file: str
    labels_file: str
    sha256: str
    seconds: float
    changed_voxels: int
    who: str
    created: str
    reviewed_file: str = ""
    reviewed_sha256: str = ""


@dataclass(frozen=True)
class Run:
    """Recipe + snapshot + base version -> a new version; `folder` is relative to the project folder."""

    id: str
    task: str
    base_model: str
    folder: str
    state: RunState
    n_corrections: int
    result_model: str | None
    created: str


def now() -> str:
    """Return the time as ISO 8601 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
