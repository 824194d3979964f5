"""Results of a run on a server: fetched beside their places, checked by their hashes, and only then put there."""

import contextlib
import hashlib
from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open

from napari_medseg.core.atomic_io import compute_file_sha256, make_temporary_path, replace_file
from napari_medseg.core.errors import MedSegError, get_reason
from napari_medseg.core.model_card import CARD_FILE, WEIGHTS_FILE, read_card
from napari_medseg.core.snapshot import SNAPSHOT_FILE, read_snapshot
from napari_medseg.workflow.remote.link import JobLink, fetch_part
from napari_medseg.workflow.serving.job_calls import RESULTS, JobFile, Purpose
from training.recipe import read_recipe
from training.reports.run_page import read_page_data, write_page
from training.run_folder import RECIPE_FILE, REPORT_DATA_FILE

MAX_WEIGHT_BYTES, MAX_OTHER_BYTES = 4 * 10**9, 256 * 2**20


def fetch_results(link: JobLink, job: str, purpose: Purpose, files: Sequence[JobFile], folder: Path) -> None:
    """Fetch the results of a job into its folder; all of them or none.

    Parameters
    ----------
    link, job, purpose
        Where it ran.
    files
        What the server has; other names than those of results are refused.
    folder
        The run folder.

    Raises
    ------
    LinkLost
        If the server cannot be reached; the next call fetches all again.
    MedSegError
        If a file is not what the server said, is no safetensors file, the card is not of this run and its weights, or
        the report would show more than texts, numbers and pictures.
    """
    order = RESULTS[purpose]
    named = {file.name: file for file in files if file.name in order}
    fetched: dict[str, Path] = {}
    try:
        for name in order:
            if name in named:
                fetched[name] = make_temporary_path(folder / name)
                _fetch(link, job, named[name], fetched[name])
        _check_model(fetched, purpose, folder)
        page = read_page_data(fetched[REPORT_DATA_FILE]) if REPORT_DATA_FILE in fetched else None
        for name, path in fetched.items():
            replace_file(path, folder / name)
        if page is not None:
            write_page(folder, page)
    finally:
        for path in fetched.values():
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def _fetch(link: JobLink, job: str, file: JobFile, target: Path) -> None:
    is_weights = file.name.endswith(".safetensors")
    if file.size > (MAX_WEIGHT_BYTES if is_weights else MAX_OTHER_BYTES):
        raise MedSegError(f"the server says that {file.name} has {file.size:,} bytes, which is too much. Train again.")
    digest, size = hashlib.sha256(), 0
    with target.open("wb") as stream:
        while size < file.size:
            data = fetch_part(link, job, file.name, size)
            if not data or size + len(data) > file.size:
                break
            stream.write(data)
            digest.update(data)
            size += len(data)
    if size != file.size or digest.hexdigest() != file.sha256:
        raise MedSegError(f"{file.name} from the server has another hash than it said. Nothing of it is used.")
    if is_weights:
        try:
            with safe_open(target, framework="numpy") as tensors:
                tensors.keys()
        except (SafetensorError, OSError) as error:
            raise MedSegError(
                f"{file.name} from the server is no safetensors file ({get_reason(error)}). Nothing of it is used."
            ) from error


def _check_model(fetched: dict[str, Path], purpose: Purpose, folder: Path) -> None:
    """Raise `MedSegError` if card and weights do not belong together, or to this run."""
    if (CARD_FILE in fetched) != (WEIGHTS_FILE in fetched):
        raise MedSegError("the server sent a card without weights, or weights without a card. Nothing of it is used.")
    if CARD_FILE not in fetched:
        return
    card = read_card(fetched[CARD_FILE])
    digest = compute_file_sha256(fetched[WEIGHTS_FILE])
    if card.weights_sha256 != digest:
        raise MedSegError("the weights from the server do not match their card. Nothing of it is used.")
    asked = read_snapshot(folder / SNAPSHOT_FILE).task
    is_other = card.task != asked
    if purpose == "train":
        run = read_recipe(folder / RECIPE_FILE).run
        is_other = is_other or (card.name, card.version) != (run.name, run.version)
    if is_other:
        raise MedSegError(f"the server sent {card.id} for {card.task}, which was not asked for. Nothing of it is used.")
