"""What a server needs to train in a run folder: copies of its files with paths that are the same on every computer.

Nothing of it says who an image shows: images and labels are those of the project, named by their content; cases and
groups have the names that the project gives them. Older images from a user's own folders stay here, because their
headers and names may hold an identity.

A run folder may come from elsewhere and name any file of this computer. So only images and labels of the project, files
of the run, models of the user and of the program, and the bundled samples are sent, wherever links lead: not the
project's table of identities, and not the file with the token beside the models.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from safetensors import SafetensorError, safe_open

from napari_medseg.core.atomic_io import compute_file_sha256
from napari_medseg.core.errors import MedSegError, get_reason
from napari_medseg.core.model_card import CARD_FILE, OPTIONAL_FILES, WEIGHTS_FILE
from napari_medseg.core.model_registry import BUNDLED_MODELS
from napari_medseg.core.snapshot import SNAPSHOT_FILE, Role, Snapshot, SnapshotItem, read_snapshot
from napari_medseg.workflow.learning.states import ADAPTED_FOLDER
from napari_medseg.workflow.remote.remote_run import read_remote
from napari_medseg.workflow.serving.job_calls import LEARNT_CASES_FILE, JobFile, Purpose
from napari_medseg.workflow.storage.deidentify import clean_card
from training.adapt.request import REQUEST_FILE, read_request
from training.recipe import read_recipe, update_recipe
from training.run_folder import (
    EARLIER_COMPARISONS_FILE,
    LABEL_PROBLEM_FILE,
    RECIPE_FILE,
    START_FOLDER,
    START_PLAN_FILE,
)
from training.start_plan import read_start_plan

BUNDLED_SAMPLES = BUNDLED_MODELS.parent / "samples"
SENT_SOURCES = ("corrections", "bundled sample")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_@-][A-Za-z0-9._@-]{0,99}")


@dataclass
class RunFiles:
    """The files of a run for a server: the content of each, or the file that holds it; `left_out` counts images.

    Only files in one of the folders `roots` are taken, and versions in one of `model_roots`.
    """

    purpose: Purpose
    roots: tuple[Path, ...] = ()
    model_roots: tuple[Path, ...] = ()
    files: list[JobFile] = field(default_factory=list)
    contents: dict[str, bytes | Path] = field(default_factory=dict)
    left_out: int = 0
    _images: dict[Path, str] = field(default_factory=dict)

    def add_bytes(self, name: str, content: bytes) -> str:
        """Add a small file, and return its name."""
        return self._add(name, len(content), hashlib.sha256(content).hexdigest(), content)

    def add_file(self, name: str, path: Path) -> str:
        """Add a file of this computer, and return its name; raise `MedSegError` if it is missing, or elsewhere."""
        _refuse_foreign(path, self.roots)
        if not path.is_file():
            raise MedSegError(f"{path} is missing, so the run cannot be sent to the server. Restore it from a backup.")
        return self._add(name, path.stat().st_size, compute_file_sha256(path), path)

    def add_image(self, folder: str, path: Path) -> str:
        """Add an image or a label file under its own name if this is plain; else under its hash. Return the name."""
        if path not in self._images:
            name = f"{folder}/{path.name}"
            if not _PLAIN_NAME.fullmatch(path.name) or name in self._images.values():
                name = f"{folder}/{compute_file_sha256(path)[:24]}{''.join(path.suffixes[-2:])}"
            self._images[path] = self.add_file(name, path)
        return self._images[path]

    def add_version(self, name: str, folder: Path) -> str:
        """Add card, weights and statistics of a version, and return the name of its folder there."""
        target = f"versions/{name}"
        _refuse_foreign(folder, self.model_roots)
        own = replace(
            self, roots=(folder.resolve(),)
        )  # it adds to the same lists; no link of a version leads out of it
        _refuse_foreign(folder / CARD_FILE, own.roots)
        own.add_bytes(f"{target}/{CARD_FILE}", clean_card(folder / CARD_FILE))
        for file in (WEIGHTS_FILE, *OPTIONAL_FILES, LEARNT_CASES_FILE):
            if file == WEIGHTS_FILE or (folder / file).is_file():
                own.add_file(f"{target}/{file}", folder / file)
        return target

    def add_weights(self, name: str, path: Path) -> str:
        """Add weights that the person named, wherever they are; raise `MedSegError` if they are no safetensors."""
        try:
            with safe_open(path, framework="numpy") as tensors:
                tensors.keys()
        except (SafetensorError, OSError) as error:
            raise MedSegError(f"{path} holds no weights ({get_reason(error)}), so it is not sent.") from error
        return self._add(name, path.stat().st_size, compute_file_sha256(path), path)

    def _add(self, name: str, size: int, sha256: str, content: bytes | Path) -> str:
        self.files.append(JobFile(name=name, size=size, sha256=sha256))
        self.contents[sha256] = content
        return name


def collect_training(run_dir: Path) -> RunFiles:
    """Collect what `python -P -m training` reads of a run folder of a project.

    Raises
    ------
    MedSegError
        If a file is missing or damaged, or lies elsewhere than the files of the project and the models.
    """
    found = RunFiles("train", _list_roots(run_dir), _list_model_roots(run_dir))
    recipe = read_recipe(run_dir / RECIPE_FILE)
    run = recipe.run
    changes = {
        "base": run.base if run.base == START_FOLDER else found.add_version("base", run_dir / run.base),
        "compare_with": run.compare_with and found.add_version("rival", run_dir / run.compare_with),
        "roi_model": run.roi_model and found.add_version("region", run_dir / run.roi_model),
        "tensorboard": False,
    }
    recipe = update_recipe(recipe, {"run": changes})
    found.add_bytes(RECIPE_FILE, recipe.model_dump_json(indent=2).encode())
    if (run_dir / START_PLAN_FILE).is_file():
        found.add_bytes(START_PLAN_FILE, _collect_start(run_dir, found))
    for name in (LABEL_PROBLEM_FILE, EARLIER_COMPARISONS_FILE):
        if (run_dir / name).is_file():
            found.add_file(name, run_dir / name)
    _collect_snapshot(run_dir, found)
    return found


def collect_adaptation(folder: Path) -> RunFiles:
    """Collect what `python -P -m training.adapt` reads of the folder of an adaptation; errors as `collect_training`."""
    found = RunFiles("adapt", _list_roots(folder), _list_model_roots(folder))
    request = read_request(folder)
    changes = {
        "base": found.add_version("base", folder / request.base),
        "start": request.start and found.add_version("start", folder / request.start),
        "roi_model": request.roi_model and found.add_version("region", folder / request.roi_model),
    }
    found.add_bytes(REQUEST_FILE, request.model_copy(update=changes).model_dump_json(indent=2).encode())
    _collect_snapshot(folder, found)
    return found


def _list_roots(folder: Path) -> tuple[Path, ...]:
    """Return the run folder, those of images and labels of its project, and that of the bundled samples."""
    project = _get_project(folder)
    return folder.resolve(), project / "images", project / "labels", BUNDLED_SAMPLES.resolve()


def _list_model_roots(folder: Path) -> tuple[Path, ...]:
    """Return the folders of the user's, the bundled and the adapted models."""
    own = Path(read_remote(folder).settings_folder)
    return own.resolve(), BUNDLED_MODELS.resolve(), _get_project(folder) / ADAPTED_FOLDER


def _get_project(folder: Path) -> Path:
    """Return the project that holds `runs/ID`, or `adapted/ID`."""
    return folder.absolute().parent.parent.resolve()


def _refuse_foreign(path: Path, roots: Sequence[Path]) -> None:
    found = path.resolve()
    if not any(found.is_relative_to(root) for root in roots):
        raise MedSegError(
            f"{path} is neither in the project nor one of your models, so it is not sent to the server. Links out of "
            "the project's folders `images` and `labels` are not followed: move what they lead to there. If the run "
            "comes from another computer, start a new one."
        )


def _collect_start(run_dir: Path, found: RunFiles) -> bytes:
    plan = read_start_plan(run_dir)
    weights = Path(plan.encoder_weights)
    encoder = plan.encoder_weights
    if weights.suffix == ".safetensors":
        encoder = found.add_weights("versions/encoder.safetensors", weights)
    changes = {
        "weights_from": plan.weights_from and found.add_version("donor", run_dir / plan.weights_from),
        "encoder_weights": encoder,
        "registry": "",
    }
    return plan.model_copy(update=changes).model_dump_json(indent=2).encode()


def _collect_snapshot(folder: Path, found: RunFiles) -> None:
    snapshot = read_snapshot(folder / SNAPSHOT_FILE)
    kept = [item for item in snapshot.items if item.role is not Role.REPLAY or item.source in SENT_SOURCES]
    found.left_out = len(snapshot.items) - len(kept)
    items = tuple(_collect_item(item, folder, found) for item in kept)
    sent = Snapshot(task=snapshot.task, items=items, own_task=snapshot.own_task)
    found.add_bytes(SNAPSHOT_FILE, sent.model_dump_json(indent=2).encode())


def _collect_item(item: SnapshotItem, folder: Path, found: RunFiles) -> SnapshotItem:
    names = {"image": "images", "labels": "labels", "field_labels": "labels"}
    names |= {"reviewed_mask": "labels", "certain_mask": "labels"}
    paths = {name: getattr(item, name) for name in names if getattr(item, name)}
    return item.model_copy(update={name: found.add_image(names[name], folder / path) for name, path in paths.items()})
