"""The registry of model versions: which versions exist, where they are stored, and which one is live.

A version is an immutable folder ``<name>/<version>/{card.json, model.safetensors}``. Bundled versions are read-only.
The user's versions are in the user's folder together with `live.json`, the history of promotions and roll-backs; the
last entry determines the live version. Each change is made under the lock of the folder, as several processes use it.
"""

import logging
import shutil
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import napari_medseg
from napari_medseg.core.atomic_io import replace_file, sync_folder
from napari_medseg.core.errors import MedSegError, get_reason, look_up, report_damage
from napari_medseg.core.model_card import CARD_FILE, CardReader, ModelCard, check_version_folder, copy_version
from napari_medseg.core.project.file_state import KeptContent
from napari_medseg.core.project.lock import lock_shared_folder
from napari_medseg.core.promotions.live_file import LiveChange, LiveFile, append_live_change, read_live_file
from napari_medseg.core.records import now
from napari_medseg.core.replay import REPLAY_IMAGES_FILE
from napari_medseg.core.tasks.catalog import TASKS_FOLDER, TaskCatalog, read_task_catalog

logger = logging.getLogger(__name__)

LIVE_FILE = "live.json"
BUNDLED_MODELS = Path(napari_medseg.__file__).parent / "models"
"""Folder of the versions that ship with the program."""


@dataclass(frozen=True)
class _Version:
    card: ModelCard
    folder: Path


class ModelRegistry:
    """The user's versions and the bundled ones.

    Parameters
    ----------
    user_dir
        Folder of the user's versions and `live.json`; created at the first write.
    bundled_dir
        Folder of the versions that ship with the program; never written to.
    """

    def __init__(self, user_dir: Path, bundled_dir: Path) -> None:
        self.user_dir = user_dir
        self.bundled_dir = bundled_dir
        self._live_file = user_dir / LIVE_FILE
        self._cards = CardReader()
        self._kept_versions = KeptContent[tuple[_Version, ...]]()
        self._kept_changes = KeptContent[LiveFile]()

    def list_versions(self, task: str | None = None) -> list[ModelCard]:
        """List the cards of a task (`None`: of all tasks), newest first; the task's default family comes first."""
        return _sort_cards(self._read_versions(), task)

    def get_card(self, model: str) -> ModelCard:
        """Return the card of a version such as ``lungs-unet@4``, with the reason given at its promotion.

        Raises
        ------
        MedSegError
            If there is no such version; the text lists the choices.
        """
        return self._get_version(model).card

    def get_folder(self, model: str) -> Path:
        """Return the folder of a version; raises like `get_card`."""
        return self._get_version(model).folder

    def find_roi_model(self, card: ModelCard) -> ModelCard | None:
        """Return the live card that predicts the region of interest of `card`; `None` if `card` has none."""
        return None if card.field is None else self.get_live_card(card.field.task)

    def find_roi_folder(self, card: ModelCard) -> Path | None:
        """Return the folder of the version of `find_roi_model`."""
        roi_model = self.find_roi_model(card)
        return None if roi_model is None else self.get_folder(roi_model.id)

    def keep_copy(self, model: str) -> Path:
        """Return a folder of a version that an update of the program does not remove; raises like `add`.

        A bundled version is copied into the user's folder first; the copy takes its place once it has left the program.
        """
        version = self._get_version(model)
        if not version.folder.is_relative_to(self.bundled_dir):
            return version.folder
        with lock_shared_folder(self.user_dir):
            kept = self.user_dir / version.card.name / str(version.card.version)
            if not kept.exists():
                self._copy_version(self._cards.read(version.folder / CARD_FILE), version.folder)
        return kept

    @property
    def tasks_dir(self) -> Path:
        """Folder of the custom tasks."""
        return self.user_dir / TASKS_FOLDER

    def read_task_catalog(self, *more: Path) -> TaskCatalog:
        """Read all tasks: built-in ones, those on cards and in this registry, and those in the folders `more`."""
        return read_task_catalog((self.tasks_dir, *more), (card.own_task for card in self.list_versions()))

    def get_live_card(self, task: str) -> ModelCard:
        """Return the live card of a task: the version promoted last, else the newest bundled one.

        Raises
        ------
        MedSegError
            If the task has no live version.
        """
        if (card := self.find_live_card(task)) is not None:
            return card
        waiting = [card.id for card in self.list_versions(task)]
        first = f"Train its first model: press Train first model in the window, or medseg train project --task {task}."
        advice = f"Promote one of {waiting}, or train another." if waiting else first
        raise MedSegError(f"the task {task!r} has no live model yet. {advice}")

    def find_live_card(self, task: str) -> ModelCard | None:
        """Return the live card of a task; `None` if its first model was not promoted yet."""
        versions = self._read_versions()  # once: it looks into all folders
        cards = {card.id: card for card in _sort_cards(versions, task)}
        for model in reversed(self._build_live_stack(task)):
            if model in cards:
                return cards[model]
            report_damage(
                f"{model} was live but is missing in {self.user_dir} and in this program. The version before it is "
                "used; choose another in the list of models or with `medseg models promote`."
            )
        bundled = {v.card.id for v in versions if v.folder.is_relative_to(self.bundled_dir)}
        return next((card for card in cards.values() if card.id in bundled), None)

    def get_live_id(self, task: str) -> str:
        """Return the id of the live version such as ``lungs-unet@4``; empty if there is none."""
        card = self.find_live_card(task)
        return "" if card is None else card.id

    def read_history(self, task: str) -> tuple[LiveChange, ...]:
        """Return all promotions and roll-backs of a task, oldest first."""
        return self._read_live_file().tasks.get(task, ())

    def add(self, folder: Path, reason: str = "") -> ModelCard:
        """Copy a trained version into the user's folder with the next free version number; it does not go live.

        Parameters
        ----------
        folder
            Holds `card.json` and `model.safetensors`.
        reason
            Why a version that is not better is promoted anyway; written on the card.

        Raises
        ------
        MedSegError
            If the weights do not match the card, or the folder cannot be written to.
        """
        card = CardReader().read(folder / CARD_FILE)
        check_version_folder(card, folder)
        with lock_shared_folder(self.user_dir):
            card = card.model_copy(update={"version": self.find_next_version(card.name)}).add_promotion_reason(reason)
            self._copy_version(card, folder)
        logger.info("added %s to %s", card.id, self.user_dir)
        return card

    def _copy_version(self, card: ModelCard, folder: Path) -> None:
        """Copy a version into the user's folder, under the number of `card`; the lock is held."""
        for left in self.user_dir.glob(f".{'[0-9a-f]' * 8}"):  # of a process that was killed here
            shutil.rmtree(left, ignore_errors=True)
        beside = self.user_dir / f".{uuid.uuid4().hex[:8]}"
        try:
            copy_version(card, folder, beside, (REPLAY_IMAGES_FILE,))
            target = self.user_dir / card.name / str(card.version)
            target.parent.mkdir(exist_ok=True)
            replace_file(beside, target)
            sync_folder(target.parent)
        except OSError as error:
            raise MedSegError(
                f"cannot add {card.id} to {self.user_dir}: {get_reason(error)}. Free disk space, then retry."
            ) from error
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    def find_next_version(self, name: str) -> int:
        """Return the next version number of a family; numbers are never used twice."""
        taken = [card.version for card in self.list_versions() if card.name == name]
        folders = [int(path.name) for path in (self.user_dir / name).glob("*") if path.name.isdecimal()]
        return max([*taken, *folders, 0]) + 1

    def promote(self, model: str, reason: str = "") -> ModelCard:
        """Make a version live for its task; `reason` is kept in the history and shown on the card."""
        card = self.get_card(model)
        if self.get_live_id(card.task) != model:
            self.keep_copy(model)  # first: a full disk must not leave a promotion behind
        with lock_shared_folder(self.user_dir):
            if self.get_live_id(card.task) == model:
                return card
            append_live_change(
                self._live_file, card.task, LiveChange(action="promote", model=model, at=now(), reason=reason)
            )
        return self.get_card(model)

    def roll_back(self, task: str) -> ModelCard:
        """Make the previously live version live again.

        Raises
        ------
        MedSegError
            If there is no earlier live version.
        """
        with lock_shared_folder(self.user_dir):
            stack, cards = self._build_live_stack(task), self.list_versions(task)
            bundled = any(self.get_folder(card.id).is_relative_to(self.bundled_dir) for card in cards)
            if not stack or (len(stack) == 1 and not bundled):
                which = "is the first model of its task" if stack else "is the model the program came with"
                raise MedSegError(f"{self.get_live_card(task).id} {which}; there is no earlier one to roll back to.")
            before = self.get_live_card(task)
            append_live_change(self._live_file, task, LiveChange(action="roll_back", model=before.id, at=now()))
        return self.get_live_card(task)

    def _read_versions(self) -> tuple[_Version, ...]:
        """Read every valid version; a user's other version of the same id replaces a bundled one, a copy does not."""
        cards = [*self._cards.find(self.bundled_dir), *self._cards.find(self.user_dir)]
        return self._kept_versions.read([self._live_file, *cards], lambda: self._read_cards(map(Path, cards)))

    def _read_cards(self, paths: Iterable[Path]) -> tuple[_Version, ...]:
        found: dict[str, _Version] = {}
        reasons = {
            each.model: each.reason for of in self._read_live_file().tasks.values() for each in of if each.reason
        }
        for path in filter(Path.exists, paths):
            try:
                card = self._cards.read(path)
            except MedSegError as error:
                report_damage(f"{path.parent} is ignored: {error}")
                continue
            if (bundled := found.get(card.id)) is not None:
                if bundled.card.weights_sha256 == card.weights_sha256:
                    continue
                which = f"your own {card.id} hides the one that came with the program"
                report_damage(f"{which}. To use that too: medseg models add {bundled.folder}")
            found[card.id] = _Version(card.add_promotion_reason(reasons.get(card.id, "")), path.parent)
        return tuple(found.values())

    def _get_version(self, model: str) -> _Version:
        versions = {version.card.id: version for version in self._read_versions()}
        return look_up(versions, model, problem=f"there is no model {model!r}")

    def _build_live_stack(self, task: str) -> list[str]:
        """List the promoted versions, the live one last: a promotion adds an entry, a roll-back removes one."""
        stack: list[str] = []
        for change in self.read_history(task):
            if change.action == "promote":
                stack.append(change.model)
            elif stack:
                stack.pop()
        return stack

    def _read_live_file(self) -> LiveFile:
        return self._kept_changes.read([self._live_file], lambda: read_live_file(self._live_file))


def _sort_cards(versions: Iterable[_Version], task: str | None) -> list[ModelCard]:
    cards = [version.card for version in versions if task in (None, version.card.task)]
    return sorted(cards, key=lambda card: (not card.is_of_default_family, card.name, -card.version))
