"""The folder of one adaptation: what is asked for, and what came of it. No torch here, because the window uses it too.

In: `request.json` and `snapshot.json`. Out: `model.safetensors`, `card.json` and, last, `result.json`. An empty file
`pause` makes the process wait after its present step. The process never opens the database of a project.
"""

import os
import sys
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from napari_medseg.core.atomic_io import atomic_write_text
from napari_medseg.core.json_model import read_json_model
from napari_medseg.core.model_card import CARD_FILE as CARD_FILE
from napari_medseg.core.model_card import WEIGHTS_FILE as WEIGHTS_FILE
from napari_medseg.core.snapshot import SNAPSHOT_FILE as SNAPSHOT_FILE
from training.run_folder import LOG_FILE as LOG_FILE

REQUEST_FILE = "request.json"
RESULT_FILE = "result.json"
PAUSE_FILE = "pause"
END_OPTION = "--end-with-stdin"

BUDGET_S = 10.0
"""Seconds of one processor core for the steps of one adaptation; reading and comparing are not counted."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AdaptRequest(_Frozen):
    """What an adaptation starts from. Paths are absolute, or relative to the folder of the request."""

    parent: str = Field(description="the live version, such as lungs-unet@4")
    parent_sha256: str = Field(description="hash of its weights")
    base: str = Field(description="its folder")
    start: str = Field("", description="folder of the adapted state to go on from; empty: the live version itself")
    start_sha256: str = Field("", description="hash of the weights of that state")
    roi_model: str = Field("", description="folder of the version that finds the region of interest")
    corrections: tuple[int, ...] = Field(description="ids of all corrections that the new state has seen")
    budget_s: float = Field(BUDGET_S, gt=0, description="processor seconds for the steps")
    max_steps: int | None = Field(None, ge=1, description="at most so many steps; None: the budget decides")
    seed: int = 0


class Comparison(_Frozen):
    """Mean Dice of the live version and of the adapted state on the same planes."""

    live: float
    adapted: float
    n_planes: int


class AdaptResult(_Frozen):
    """What came of an adaptation. If it was not kept, `text` says why, and there are no weights."""

    kept: bool
    text: str = ""
    weights_sha256: str = ""
    n_steps: int = 0
    seconds: float = Field(0.0, description="processor seconds of the steps")
    share: float = Field(1.0, description="of the adapted weights in the state; the rest is the live version")
    replay: Comparison | None = None
    validation: Comparison | None = None


def wait_for_end_of_stdin() -> None:
    """Return when the window that started this process is gone; call it in a daemon thread.

    It reads below Python's own buffer: at the end of the process that would be locked by the thread, and abort it.
    """
    while os.read(sys.stdin.fileno(), 4096):
        pass


def write_request(request: AdaptRequest, folder: Path) -> None:
    """Write `request.json`."""
    atomic_write_text(folder / REQUEST_FILE, request.model_dump_json(indent=2) + "\n")


def read_request(folder: Path) -> AdaptRequest:
    """Read `request.json`; raise `MedSegError` if it is missing or damaged."""
    return read_json_model(folder / REQUEST_FILE, AdaptRequest, "is no request to adapt", "Accept another case.")


def write_result(result: AdaptResult, folder: Path) -> None:
    """Write `result.json`: the adaptation has ended."""
    atomic_write_text(folder / RESULT_FILE, result.model_dump_json(indent=2) + "\n")


def read_result(folder: Path) -> AdaptResult:
    """Read `result.json`; raise `MedSegError` if it is missing or damaged."""
    return read_json_model(folder / RESULT_FILE, AdaptResult, "is no result of an adaptation", "Accept another case.")
