"""The records of a project as frozen types; the terms are those of the database, the window and the docs."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

UNLIKE = "unlike the images this model learnt from"
"""What is said of an image whose distance from the training images is above 1."""


def is_unlike(domain_distance: float | None) -> bool:
    """Whether an image at this distance from the training images is unlike them; `None` is unknown."""
    return domain_distance is not None and domain_distance > 1.0


def title_adapted(model: str, n_cases: int) -> str:
    """Return the name of a version that was adapted to some accepted cases, such as ``lungs-unet@4 + 6 cases``."""
    return f"{model} + {n_cases} case{'' if n_cases == 1 else 's'}"


class ReviewState(StrEnum):
    """State of one person's review of a case."""

    OPEN = "open"
    ACCEPTED = "accepted"
    REJECTED = "rejected"


class RunState(StrEnum):
    """State of a training run."""

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

    `shape`, `axes` and `spacing_mm` are those of the canonical image. If `held_out` is true, no run trains on the case.

    A case of a project names no one: `name` is such as ``patient 12 case 3``, and `group` is keyed (see
    `core.grouping.keyed_groups`). `sources` (the files, in slice order), `file_name` and `series` (SeriesInstanceUID)
    are identities: the window may show them, but nothing writes them outside the table of that name.
    """

    id: int
    task: str
    name: str
    group: str
    content_hash: str
    axes: str
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...] | None
    sources: tuple[str, ...] = field(repr=False)
    held_out: bool
    created: str
    file_name: str = field(default="", repr=False)
    series: str = field(default="", repr=False)

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

    `field_file` holds the labels of the region of interest, predicted by `field_model`; both may be empty.
    `domain_distance` is as in `PredictionResult`; `remark` says what is suspicious about the labels, or is empty.

    If an adapted state of `model` predicted them (learning at Accept), `adapted_sha256` is the hash of its weights and
    `adapted_corrections` are the ids of the corrections that it had learnt from; else both are empty. `device` and
    `runtime` are as in `PredictionResult`, empty where an older version of the program predicted.
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
    domain_distance: float | None = None
    remark: str = ""
    adapted_sha256: str = ""
    adapted_corrections: tuple[int, ...] = ()
    device: str = ""
    runtime: str = ""

    @property
    def model_title(self) -> str:
        """The version, and how many cases it had learnt from since: ``lungs-unet@4 + 6 cases``."""
        return title_adapted(self.model, len(self.adapted_corrections)) if self.adapted_sha256 else self.model

    @property
    def is_unlike(self) -> bool:
        """Whether the image is unlike the images that the model learnt from."""
        return is_unlike(self.domain_distance)


@dataclass(frozen=True)
class Review:
    """One person's pass over a case: open, then accepted or rejected, with the seconds they worked on it.

    When it is closed, `doubtful_places` is the number of places of which the model was unsure, and
    `doubtful_places_seen` how many of them the person saw; both are 0 if they were never computed. `who` is a label
    such as ``reader 2``. `reading` is 2 if the person read the case blind, after another one, see `core.readings`.
    """

    id: int
    case_id: int
    prediction_id: int | None
    state: ReviewState
    seconds: float
    changed_voxels: int
    who: str
    opened: str
    closed: str | None
    doubtful_places: int = 0
    doubtful_places_seen: int = 0
    reading: int = 1


@dataclass(frozen=True)
class Correction:
    """The immutable labels that an accepted review produced; files are relative to the project folder.

    `reviewed_file` is a mask on the grid of the labels, non-zero in the review region; empty for the whole image.
    `imported` tells how the labels came from a mask of another program or person; empty if they did not. `who` and
    `reading` are as in `Review`. `model`, `device`, `runtime` and the two fields of the adapted state are those of the
    prediction that the person corrected, see `Prediction`.
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
    imported: str = ""
    reading: int = 1
    adapted_sha256: str = ""
    adapted_corrections: tuple[int, ...] = ()
    device: str = ""
    runtime: str = ""

    @property
    def model_title(self) -> str:
        """As in `Prediction`."""
        return title_adapted(self.model, len(self.adapted_corrections)) if self.adapted_sha256 else self.model


@dataclass(frozen=True)
class ImportedMask:
    """A mask of another program or person from which a review of a case started.

    `source_sha256` is the hash of the image's files, the mask's file and what was asked for, `labels_sha256` that of
    the labels that it became. `meaning` tells what its values mean, `how` what else was done ("resampled ...").
    Names of files are identities, so they are not kept.
    """

    id: int
    case_id: int
    review_id: int
    source_sha256: str
    labels_sha256: str
    meaning: str
    how: str
    who: str
    created: str

    @property
    def text(self) -> str:
        """What was done with the mask, such as ``10 right lung, 20 left lung; resampled ...``."""
        return "; ".join(part for part in (self.meaning, self.how) if part)


@dataclass(frozen=True)
class CaseNote:
    """What a person says about a case; the newest one of a reading counts, and `NO_NOTE` stands for none.

    `reading` is as in `Review`: a second reader's notes stand beside those of the first reading. `note` and `reason`
    (why it was rejected; empty if no one said it) are free text, which may name someone: the database keeps them in the
    table `identities`. With `is_flagged`, a colleague is to look at the case.
    """

    id: int
    case_id: int
    is_flagged: bool
    who: str
    created: str
    note: str = field(default="", repr=False)
    reason: str = field(default="", repr=False)
    reading: int = 1

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing, because what was said was taken back."""
        return not (self.is_flagged or self.note or self.reason)


NO_NOTE = CaseNote(0, 0, is_flagged=False, who="", created="")


@dataclass(frozen=True)
class DismissedFinding:
    """A finding of a kind that a person said to be right, while the labels at its place have this hash."""

    id: int
    case_id: int
    kind: str
    place_digest: str
    who: str
    created: str


@dataclass(frozen=True)
class RememberedMeaning:
    """What the mask values of a source mean for a task, as a person said; `source` is a keyed hash, not a path."""

    id: int
    task: str
    source: str
    meaning: str
    created: str


@dataclass(frozen=True)
class RememberedLayout:
    """What the axes of arrays of one kind are, as a person said; `source` is a keyed hash of folder and kind."""

    id: int
    source: str
    layout: str
    created: str


@dataclass(frozen=True)
class HoldOutShare:
    """The share of groups that a person wants to hold out: one group in `one_in`, 0 for none. The last one counts."""

    id: int
    one_in: int
    created: str


@dataclass(frozen=True)
class UnreadCorrection:
    """A correction of a run that the trainer did not read, because time or memory did not allow it."""

    id: int
    run_id: str
    correction_id: int


@dataclass(frozen=True)
class Run:
    """A training run: recipe, snapshot and base version in, new version out. `folder` is relative to the project."""

    id: str
    task: str
    base_model: str
    folder: str
    state: RunState
    n_corrections: int
    result_model: str | None
    created: str


def now() -> str:
    """Return the current UTC time as ISO 8601 text with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
