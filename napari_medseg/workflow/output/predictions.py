"""A folder of predicted label files, and `predictions.jsonl`, which says whose each file is.

A line is written before its label file. So no image ever gets the file of another one, also not with ``--overwrite``,
and an interrupted command can be repeated.
"""

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.file_names import (
    LABELS_ENDING,
    PREDICTIONS_FILE,
    get_name_key,
    make_file_stem,
    make_printable,
    make_unused_stem,
    shorten_for_endings,
)
from napari_medseg.core.json_model import append_json_line, read_json_lines


class PredictionEntry(BaseModel):
    """One line: a label file, the image that it belongs to, the model, and what computed it, see `PredictionResult`.

    `wanted` is the name before a number was added for another image of this name. `source` is a hash of the paths of
    the image's files: a changed file keeps its label file, and a moved file is found by its content.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    labels_file: str
    stem: str
    wanted: str
    source: str
    content_sha256: str
    task: str
    model: str
    source_files: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    device: str = ""
    runtime: str = ""


class PredictionFolder:
    """Chooses the names of label files in a folder and records them.

    Parameters
    ----------
    folder
        Created when the first file is recorded.
    suffix
        Format of the label files.
    task, model
        What is segmented, and the model version. The labels of two tasks are two files.
    overwrite
        Whether an image's own label file may be replaced.
    reserved
        Names that other images of this call will want; no number is added that makes one of them.

    Raises
    ------
    MedSegError
        If `predictions.jsonl` cannot be read.
    """

    def __init__(
        self,
        folder: Path,
        suffix: str,
        task: str,
        model: str,
        *,
        overwrite: bool = False,
        reserved: Iterable[str] = (),
    ) -> None:
        self._folder = folder
        self._ending = f"{LABELS_ENDING}{suffix}"
        self._task = task
        self._model = model
        self._overwrite = overwrite
        self._reserved = {get_name_key(make_file_stem(name)) for name in reserved}
        self._entries = read_json_lines(folder / PREDICTIONS_FILE, PredictionEntry)
        self._claimed: set[str] = set()

    @property
    def model(self) -> str:
        """The model version."""
        return self._model

    def refuse_existing(self, files: Sequence[Path]) -> None:
        """Raise `MedSegError` if the labels of these files exist and may not be replaced."""
        source = _make_source_id(files)
        for entry in self._entries:
            if entry.source == source and entry.task == self._task and entry.labels_file.endswith(self._ending):
                self._refuse_to_replace(self.get_path(entry))

    def claim(self, content_sha256: str, files: Sequence[Path], wanted: str) -> PredictionEntry:
        """Choose the label file of an image.

        Parameters
        ----------
        content_sha256
            Hash of its pixels, `Image.content_hash`.
        files
            Its files, as the user named them.
        wanted
            First part of the name; a number is added if another image has it.

        Raises
        ------
        MedSegError
            If the file exists and may not be replaced, or is not known to belong to this image.
        """
        wanted, source = shorten_for_endings(wanted, [self._ending], self._folder), _make_source_id(files)
        own = self._find_own(content_sha256, source, wanted)
        stem = own.stem if own is not None else self._choose_stem(wanted)
        self._claimed.add(get_name_key(stem))
        entry = PredictionEntry(
            labels_file=f"{stem}{self._ending}",
            stem=stem,
            wanted=wanted,
            source=source,
            content_sha256=content_sha256,
            task=self._task,
            model=self._model,
            source_files=tuple(make_printable(file.name) for file in files),
        )
        path = self.get_path(entry)
        self._refuse_to_replace(path)
        if path.exists() and (own is None or get_name_key(path.name) not in self._list_files(own)):
            raise MedSegError(
                f"{path} exists, and {PREDICTIONS_FILE} beside it does not say that it belongs to this image. Move it, "
                "or choose another folder with -o; nothing was overwritten."
            )
        return entry

    def get_path(self, entry: PredictionEntry) -> Path:
        """Return the path of a label file."""
        return self._folder / entry.labels_file

    def record(self, entry: PredictionEntry, remarks: Sequence[str] = (), device: str = "", runtime: str = "") -> None:
        """Append an entry, with remarks on how its pixels lie; call it before its label file is written.

        `device` and `runtime` are what computed it, as of `PredictionResult`.

        Raises
        ------
        MedSegError
            If the folder cannot be written to.
        """
        known = {"remarks": tuple(remarks), "device": device, "runtime": runtime}
        append_json_line(self._folder / PREDICTIONS_FILE, entry.model_copy(update=known))
        self._entries.append(entry)

    def _refuse_to_replace(self, path: Path) -> None:
        if path.exists() and not self._overwrite:
            raise MedSegError(f"{path} exists already. Choose another folder with -o, or add --overwrite.")

    def _find_own(self, content_sha256: str, source: str, wanted: str) -> PredictionEntry | None:
        """Return the newest entry of an image: of the same files, else of the same content."""
        mine = [entry for entry in reversed(self._entries) if entry.wanted == wanted and entry.task == self._task]
        free = [entry for entry in mine if get_name_key(entry.stem) not in self._claimed]
        same_file = (entry for entry in free if entry.source == source)
        same_content = (entry for entry in free if entry.content_sha256 == content_sha256)
        return next(same_file, None) or next(same_content, None)

    def _choose_stem(self, wanted: str) -> str:
        taken = {get_name_key(entry.stem) for entry in self._entries} | self._claimed
        if get_name_key(wanted) in taken:
            taken |= self._reserved
        return make_unused_stem(wanted, taken)

    def _list_files(self, own: PredictionEntry) -> set[str]:
        return {get_name_key(entry.labels_file) for entry in self._entries if entry.stem == own.stem}


def _make_source_id(files: Sequence[Path]) -> str:
    names = sorted(os.fsencode(file.absolute()) for file in files)
    return hashlib.sha256(b"\0".join(names)).hexdigest()[:16]
