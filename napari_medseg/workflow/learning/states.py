"""The adapted states of a project: at most one for each task is in use, and none is ever a version.

A state is a folder ``adapted/<id>/`` with weights, card, request and result. It holds nothing that a person made: if
anything is wrong with it, it is dropped, and the live version predicts.
"""

import logging
import shutil
import threading
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from napari_medseg.core.atomic_io import compute_file_sha256
from napari_medseg.core.errors import MedSegError, get_reason
from napari_medseg.core.model_card import ModelCard, read_card
from napari_medseg.core.records import Case, title_adapted
from training.adapt.request import CARD_FILE, WEIGHTS_FILE, read_request, read_result

logger = logging.getLogger(__name__)

ADAPTED_FOLDER = "adapted"


@dataclass(frozen=True)
class AdaptedState:
    """Weights for the next drafts of a task.

    `parent` is the live version that they come from, `parent_sha256` the hash of its weights. `corrections` are the ids
    of the corrections that they have seen, `sha256` is the hash of the adapted weights.
    """

    folder: Path
    task: str
    parent: str
    parent_sha256: str
    corrections: tuple[int, ...]
    sha256: str

    @property
    def title(self) -> str:
        """Such as ``lungs-unet@4 + 6 cases``."""
        return title_adapted(self.parent, len(self.corrections))

    def find_damage(self) -> str:
        """Return what is wrong with the files; empty if the weights are those that were written. In any thread."""
        try:
            is_whole = read_card(self.folder / CARD_FILE).weights_sha256 == self.sha256
            is_whole = is_whole and compute_file_sha256(self.folder / WEIGHTS_FILE) == self.sha256
        except (OSError, MedSegError) as error:
            return get_reason(error)
        return "" if is_whole else "the adapted weights are damaged"


class AdaptedStates:
    """The states of an open project.

    Parameters
    ----------
    project_folder
        Folder of the project.

    Notes
    -----
    `is_on` decides whether drafts come from them. It is false until a window turns it on, so a command predicts with
    the live version only.
    """

    def __init__(self, project_folder: Path) -> None:
        self.is_on = False
        self._folder = project_folder / ADAPTED_FOLDER
        self._states: dict[str, AdaptedState] | None = None
        self._notices: list[str] = []
        self._left_to_version: set[tuple[str, int]] = set()
        self._lock = threading.Lock()

    def make_folder(self) -> Path:
        """Make the folder of a new adaptation."""
        with self._lock:
            self._read_once()  # first: it removes what an earlier window did not finish
        folder = self._folder / uuid.uuid4().hex[:12]
        folder.mkdir(parents=True)
        return folder

    def get(self, task: str) -> AdaptedState | None:
        """Return the newest state of a task, whatever became of its version and corrections."""
        with self._lock:
            return self._read_once().get(task)

    def find(self, task: str, live: ModelCard | None, usable: Collection[int]) -> AdaptedState | None:
        """Return the state that predicts the next draft of a task; `None`: the live version does.

        Parameters
        ----------
        task, live
            Name of the task, and its live version.
        usable
            Ids of all corrections that a state may have seen. If one was withdrawn, the state is dropped.
        """
        state = self.get(task) if self.is_on else None
        if state is None:
            return None
        is_of_live = live is not None and (live.id, live.weights_sha256) == (state.parent, state.parent_sha256)
        if not is_of_live:
            self.drop(state)  # the next drafts come from another version: the reader chose so
            return None
        if not set(state.corrections) <= set(usable):
            self.drop(
                state, f"{state.parent} drafts without what it learnt: an accepted case was changed or withdrawn."
            )
            return None
        return state

    def keep(self, state: AdaptedState) -> None:
        """Use a state from now on, and delete the others of its task but the one before: it may be predicting."""
        with self._lock:
            states = self._read_once()
            before = states.get(state.task)
            states[state.task] = state
            used = {one.folder for one in (*states.values(), before) if one is not None}
        self._remove_others(used)

    def drop(self, state: AdaptedState, notice: str = "") -> None:
        """Use a state no more; `notice` is for the user. It may be called in any thread."""
        with self._lock:
            states = self._read_once()
            if states.get(state.task) is not state:
                return
            del states[state.task]
            if notice:
                self._notices.append(notice)
        logger.info("%s is dropped. %s", state.title, notice)
        remove_folder(state.folder)

    def leave_to_version(self, state: AdaptedState, case: Case) -> None:
        """Remember that the version itself predicts a case: it is like its training images. In any thread."""
        with self._lock:
            self._left_to_version.add((state.sha256, case.id))

    def is_left_to_version(self, state: AdaptedState | None, case: Case) -> bool:
        """Whether a state left a case to the version, since the window was opened."""
        with self._lock:
            return state is not None and (state.sha256, case.id) in self._left_to_version

    def tell(self, notice: str) -> None:
        """Add a message for the user."""
        with self._lock:
            self._notices.append(notice)

    def take_notices(self) -> list[str]:
        """Return the messages since the last call."""
        with self._lock:
            taken, self._notices = self._notices, []
        return taken

    def _read_once(self) -> dict[str, AdaptedState]:
        """Read what an earlier window left, once; folders without a usable state are removed."""
        if self._states is None:
            self._states = {}
            times: dict[str, float] = {}
            for folder in self._folder.iterdir() if self._folder.is_dir() else ():
                state = read_state(folder)
                if state is None or times.get(state.task, 0.0) > folder.stat().st_mtime:
                    continue
                self._states[state.task], times[state.task] = state, folder.stat().st_mtime
            self._remove_others({state.folder for state in self._states.values()})
        return self._states

    def _remove_others(self, used: Collection[Path]) -> None:
        for folder in self._folder.iterdir() if self._folder.is_dir() else ():
            if folder not in used and folder.is_dir():
                remove_folder(folder)


def read_state(folder: Path) -> AdaptedState | None:
    """Read the state in a folder; `None` if it was not finished, not kept, or is damaged."""
    try:
        result = read_result(folder)
        if not result.kept:
            return None
        request, card = read_request(folder), read_card(folder / CARD_FILE)
    except (OSError, MedSegError):
        return None
    state = AdaptedState(
        folder, card.task, request.parent, request.parent_sha256, request.corrections, result.weights_sha256
    )
    return None if state.find_damage() else state


def remove_folder(folder: Path) -> None:
    """Delete the folder of an adaptation; what another program holds stays, and is removed later."""
    shutil.rmtree(folder, ignore_errors=True)
