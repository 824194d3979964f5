"""User preferences, stored beside the models in `preferences.json`."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_medseg.core.atomic_io import atomic_write_text, read_file, set_aside
from napari_medseg.core.errors import MedSegError, get_reason, report_damage
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.core.project.lock import lock_shared_folder
from napari_medseg.inference.runtimes.runtime_names import RuntimeWish
from napari_medseg.workflow.case_list.order import CaseOrder

PREFERENCES_FILE = "preferences.json"
MAX_MEMORY_GB = 4096.0
SET_BY_THE_WINDOW = (
    "display_windows",
    "shows_planes",
    "reader",
    "account_reader",
    "case_order",
    "list_columns",
    "list_window_columns",
    "list_in_window",
    "learns_at_accept",
)
"""Preferences that the form does not write: the window can change them while it is open. The two of the reader are
written by `CurrentReader.set_name` alone."""


class Preferences(BaseModel):
    """Default settings of the window.

    `budget_s` is the time budget of a retrain in seconds. With `read_medical_files`, DICOM and NIfTI files open with
    our reader if napari has no other preference. `device`, as ``cuda:1``, predicts and retrains; empty: the fastest.
    `runtime` computes on the CPU; ``auto`` is what was measured to be the fastest.
    `max_memory_gb` is what the pixels of one image may take, in units of 10^9 bytes; 0 means what
    `core.decoded_size.limit` computes. `display_windows` holds, for each kind of image, the name of a preset of
    `core.tasks.display_windows`, or the grey values shown black and white. `shows_planes` tells whether the slices in
    the other two planes are shown. `reader` is the name of the person who corrects, and `account_reader` the one that
    was given first, see `workflow.second_reader.current_reader`; empty: the account. `case_order` is the order of the
    list of cases; `list_columns` and `list_window_columns` are its columns in the dock and in its own window; empty:
    the usual ones. `list_in_window` tells whether it is in that window. With `learns_at_accept`, the next drafts
    learn from each accepted case, see `workflow.learning`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    predict_automatically: bool = True
    budget_s: float = Field(90.0, gt=0)
    export_suffix: str = ".nii.gz"
    export_with_images: bool = False
    read_medical_files: bool = True
    device: str = ""
    runtime: RuntimeWish = "auto"
    max_memory_gb: float = Field(0.0, ge=0, le=MAX_MEMORY_GB)
    display_windows: dict[str, str | tuple[float, float]] = {}
    shows_planes: bool = False
    reader: str = ""
    account_reader: str = ""
    case_order: CaseOrder = CaseOrder.USEFUL
    list_columns: tuple[str, ...] = ()
    list_window_columns: tuple[str, ...] = ()
    list_in_window: bool = False
    learns_at_accept: bool = False

    @property
    def max_memory_bytes(self) -> int | None:
        """What the pixels of one image may take; `None` if it is computed."""
        return round(self.max_memory_gb * 1e9) or None


def read_preferences(registry: ModelRegistry) -> Preferences:
    """Read the preferences. If the file is missing or damaged, use the defaults; a damaged file is reported."""
    path = registry.user_dir / PREFERENCES_FILE
    try:
        return Preferences.model_validate_json(read_file(path))
    except FileNotFoundError:
        return Preferences()
    except (OSError, ValidationError) as error:
        report_damage(f"{path} cannot be read, so the default preferences are used: {get_reason(error)}.")
        return Preferences()


def write_preferences(registry: ModelRegistry, preferences: Preferences) -> None:
    """Write the preferences; a damaged file is kept under another name.

    Raises
    ------
    MedSegError
        If the file cannot be written, or the old one cannot be read.
    """
    path = registry.user_dir / PREFERENCES_FILE
    try:
        with lock_shared_folder(registry.user_dir):
            _set_damaged_file_aside(path)
            atomic_write_text(path, preferences.model_dump_json(indent=2) + "\n")
    except OSError as error:
        raise MedSegError(f"the preferences cannot be written to {path}: {get_reason(error)}.") from error


def change_preferences(registry: ModelRegistry, changes: Mapping[str, object]) -> None:
    """Write some preferences, by their names, unless they have these values already; see `write_preferences`."""
    before = read_preferences(registry)
    after = before.model_copy(update=dict(changes))
    if after != before:
        write_preferences(registry, after)


def _set_damaged_file_aside(path: Path) -> None:
    if path.exists():
        try:
            Preferences.model_validate_json(read_file(path))
        except ValidationError:
            report_damage(f"the damaged {path} is kept as {set_aside(path).name}.")
