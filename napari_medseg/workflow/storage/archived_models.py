"""The model versions that travel with a project: those that made its labels, their ancestors, and the live ones."""

import json
import shutil
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from napari_medseg.core.atomic_io import atomic_write_text, read_file, replace_file, sync_folder
from napari_medseg.core.errors import MedSegError, get_reason
from napari_medseg.core.json_model import parse_json
from napari_medseg.core.model_card import CARD_FILE, ModelCard, check_version_folder, copy_version, read_card
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.core.project.database import Project
from napari_medseg.core.project.lock import lock_shared_folder
from napari_medseg.core.records import Case, Correction, Prediction, Run
from napari_medseg.core.replay import REPLAY_IMAGES_FILE
from napari_medseg.workflow.storage.foreign_paths import LEFT_OUT, leads_out
from napari_medseg.workflow.storage.manifest import ArchivedVersion, LiveVersion

_PROJECT_PATH = "medseg-project:"
"""Begins the path of an image inside the project, in a list of replayed images of an archive."""


@dataclass(frozen=True)
class NeededVersions:
    """The versions of a project; `missing` are named in it, but are no longer in the registry or the program."""

    cards: tuple[ModelCard, ...]
    missing: tuple[str, ...]


def list_needed_versions(project: Project, registry: ModelRegistry) -> NeededVersions:
    """Return the versions that a project names, the live versions of its tasks, and the ancestors of all of them."""
    named = {model: None for one in project.read_records(Prediction) for model in (one.model, one.field_model)}
    named |= {one.model: None for one in project.read_records(Correction)}
    named |= {model: None for run in project.read_records(Run) for model in (run.base_model, run.result_model or "")}
    known = {card.id: card for card in registry.list_versions()}
    named |= {card.id: None for task in _list_tasks(project, registry) if (card := registry.find_live_card(task))}
    found: dict[str, ModelCard] = {}
    missing: list[str] = []
    waiting = [model for model in named if model]
    while waiting:
        model = waiting.pop(0)
        if model in known and model not in found:
            found[model] = known[model]
            waiting += [known[model].lineage.parent or ""]
        elif model not in known and model in named:
            missing.append(model)
    return NeededVersions(tuple(found.values()), tuple(dict.fromkeys(filter(None, missing))))


def describe_version(registry: ModelRegistry, card: ModelCard) -> ArchivedVersion:
    """Return what a manifest says of a version."""
    is_bundled = registry.get_folder(card.id).is_relative_to(registry.bundled_dir)
    return ArchivedVersion(id=card.id, weights_sha256=card.weights_sha256, is_bundled=is_bundled)


def list_live_versions(project: Project, registry: ModelRegistry, *, with_reasons: bool) -> dict[str, LiveVersion]:
    """Return the live version of each task of a project that someone promoted; others come with the program.

    The reasons are what a person typed, so they may name someone.
    """
    live = {}
    for task in _list_tasks(project, registry):
        card = registry.find_live_card(task)
        promoted = [change for change in registry.read_history(task) if card is not None and change.model == card.id]
        if card is not None and promoted:
            live[task] = LiveVersion(model=card.id, reason=promoted[-1].reason if with_reasons else "")
    return live


def make_replay_list_portable(path: Path, project: Path) -> bytes:
    """Return a list of replayed images in which paths inside the project are relative to it."""
    listed = parse_json(read_file(path))
    for image in listed:
        for key in ("image", "labels"):
            place = Path(image[key])
            if place.is_relative_to(project.resolve()):
                image[key] = _PROJECT_PATH + place.relative_to(project.resolve()).as_posix()
    return json.dumps(listed, indent=2).encode() + b"\n"


def localise_replay_list(path: Path, project: Path, *, is_own: bool) -> None:
    """Write the list of `make_replay_list_portable` for a project in the folder `project`.

    Paths that lead out of the project go; other paths stay only in an archive of one's own. Groups stay in any case:
    they say on whom a version was trained.
    """
    listed = parse_json(read_file(path))
    for image in listed:
        for key in ("image", "labels"):
            place = str(image[key])
            inside = place.removeprefix(_PROJECT_PATH)
            if place != inside:
                image[key] = LEFT_OUT if leads_out(inside) else str(project.resolve() / PurePosixPath(inside))
            elif not is_own:
                image[key] = LEFT_OUT
    atomic_write_text(path, json.dumps(listed, indent=2) + "\n")


def refuse_other_versions(registry: ModelRegistry, versions: Iterable[ArchivedVersion], name: str) -> None:
    """Refuse an archive whose models have the numbers of other models in a registry.

    Raises
    ------
    MedSegError
        Names the versions; nothing was changed.
    """
    known = {card.id: card.weights_sha256 for card in registry.list_versions()}
    other = [one.id for one in versions if known.get(one.id, one.weights_sha256) != one.weights_sha256]
    if other:
        raise MedSegError(
            f"{name} holds {', '.join(other)}, and another model of that name is in {registry.user_dir}. Unpack it "
            "with a folder of its own for models: --registry FOLDER."
        )


def add_versions(registry: ModelRegistry, versions: Iterable[ArchivedVersion], folder: Path) -> list[str]:
    """Copy unpacked versions into the user's registry under their own numbers; return those that were not there.

    Raises
    ------
    MedSegError
        If one is damaged, or the registry cannot be written to. Versions that were copied before it stay.
    """
    added = []
    for version in versions:
        if version.is_bundled or version.id in {card.id for card in registry.list_versions()}:
            continue
        card = read_card(folder / version.folder / CARD_FILE)
        if card.id != version.id:
            raise MedSegError(f"the archive names {version.id}, but its card is that of {card.id}. Pack it again.")
        check_version_folder(card, folder / version.folder)
        _copy_into(registry, card, folder / version.folder)
        added.append(version.id)
    return added


def set_live_versions(registry: ModelRegistry, live: Mapping[str, LiveVersion], *, is_own: bool) -> list[str]:
    """Make the versions of one's own archive live where nobody chose one for their task; return what was done.

    The versions of any other archive do not go live: they would predict for all projects of this user.
    """
    notices = []
    known = {card.id: card.task for card in registry.list_versions()}
    for task, wanted in live.items():
        now_live = registry.get_live_id(task)
        if now_live == wanted.model or known.get(wanted.model) != task:
            continue
        if is_own and not registry.read_history(task):
            registry.promote(wanted.model, wanted.reason)
            notices.append(f"{wanted.model} is live for {task} now, as it was in the packed project.")
        else:
            stays = f"{now_live} stays live" if now_live else "no model is live"
            notices.append(
                f"{stays} for {task}; in the packed project it was {wanted.model}. To change it: medseg models "
                f"promote {wanted.model}"
            )
    return notices


def _list_tasks(project: Project, registry: ModelRegistry) -> list[str]:
    """Return the tasks of the cases, and those of the regions of interest that their live models need."""
    tasks = list(dict.fromkeys(case.task for case in project.read_records(Case)))
    live = [card for task in tasks if (card := registry.find_live_card(task)) is not None]
    return list(dict.fromkeys([*tasks, *(card.field.task for card in live if card.field is not None)]))


def _copy_into(registry: ModelRegistry, card: ModelCard, folder: Path) -> None:
    target = registry.user_dir / card.name / str(card.version)
    with lock_shared_folder(registry.user_dir):
        beside = registry.user_dir / f".{uuid.uuid4().hex[:8]}"
        try:
            copy_version(card, folder, beside, (REPLAY_IMAGES_FILE,))
            target.parent.mkdir(exist_ok=True)
            replace_file(beside, target)
            sync_folder(target.parent)
        except OSError as error:
            raise MedSegError(
                f"cannot add {card.id} to {registry.user_dir}: {get_reason(error)}. Free disk space, then retry."
            ) from error
        finally:
            shutil.rmtree(beside, ignore_errors=True)
