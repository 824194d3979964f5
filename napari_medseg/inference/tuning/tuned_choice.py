"""What was chosen for a version on a device, from which measurements, and the file that keeps it. No torch here."""

import hashlib
import logging
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_medseg.core.atomic_io import atomic_write_text, read_file
from napari_medseg.core.errors import MedSegError, get_reason
from napari_medseg.inference.runtimes.runtime_names import Runtime, RuntimeWish

logger = logging.getLogger(__name__)

MAX_KEPT_CHOICES = 200


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TuningKey(_Frozen):
    """What a choice depends on; if any of it changes, the version is measured again.

    `wish` is the runtime that a person asked for. `libraries` holds the versions of torch, CUDA and OpenVINO, `driver`
    that of the GPU.
    """

    wish: RuntimeWish
    device: str
    driver: str
    libraries: str
    program: str
    weights_sha256: str
    architecture: str
    n_threads: int

    @property
    def file_name(self) -> str:
        """Name of the file in the cache."""
        return f"{hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:32]}.json"


class Trial(_Frozen):
    """One measured way to compute, and its seconds per million pixels; see `measurement.read_clock`."""

    way: str
    seconds_per_mp: float = Field(gt=0)


class TunedChoice(_Frozen):
    """The fastest way that was measured.

    Parameters
    ----------
    key, model
        What it holds for, and the name of the version.
    runtime, precision
        What computes, and in which type; no type for that of torch as usual.
    batch_px
        Most pixels of one forward pass; 0 for the default of the device.
    agreement
        Share of equal labels of the two runtimes; `None` if they were not compared.
    reason
        Why the runtime was chosen.
    trials
        What was measured.
    """

    key: TuningKey
    model: str
    runtime: Runtime = "torch"
    precision: Literal["fp32", "bf16"] | None = None
    batch_px: int = Field(0, ge=0)
    agreement: float | None = Field(None, ge=0, le=1)
    reason: str = ""
    trials: tuple[Trial, ...] = ()


class TuningCache:
    """The choices of this computer, one file each. All of it can be deleted: it is measured again.

    Parameters
    ----------
    folder
        Created at the first write.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, key: TuningKey) -> TunedChoice | None:
        """Return the choice for a key; `None` if there is none, or its file is damaged or of another key."""
        choice = _read(self._folder / key.file_name)
        return choice if choice is not None and choice.key == key else None

    def write(self, choice: TunedChoice) -> None:
        """Keep a choice; if the disk does not take it, it is measured again next time, which is logged."""
        path = self._folder / choice.key.file_name
        try:
            atomic_write_text(path, choice.model_dump_json(indent=2) + "\n")
            for old in self._list_files()[:-MAX_KEPT_CHOICES]:
                old.unlink(missing_ok=True)
        except (OSError, MedSegError) as error:
            logger.warning("what was measured is not kept: %s", get_reason(error))

    def list_choices(self) -> list[TunedChoice]:
        """Return all choices, the oldest first; damaged files are left out."""
        return [choice for file in self._list_files() if (choice := _read(file)) is not None]

    def clear(self) -> int:
        """Delete all choices; return how many there were."""
        files = self._list_files()
        for file in files:
            file.unlink(missing_ok=True)
        return len(files)

    def _list_files(self) -> list[Path]:
        return sorted(self._folder.glob("*.json"), key=lambda path: path.stat().st_mtime)


def _read(path: Path) -> TunedChoice | None:
    try:
        return TunedChoice.model_validate_json(read_file(path))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError, MedSegError) as error:
        logger.warning("%s is damaged and measured again: %s", path.name, get_reason(error))
        return None
