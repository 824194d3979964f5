"""A folder of files of frames, and `frames.jsonl`, which says of which video, version and frame each file is.

Videos of several folders may have one name. So each video gets a name of its own here, by its content, and no file is
taken for one of another video or version, nor replaced if a person changed it. A line is written before its file, and
again with its hash when it is complete, so that an interrupted command can be repeated.
"""

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from napari_medseg.core.atomic_io import compute_file_sha256
from napari_medseg.core.errors import MedSegError, format_os_error
from napari_medseg.core.file_names import get_name_key, make_file_stem, make_unused_stem
from napari_medseg.core.json_model import append_json_line, read_json_lines
from napari_medseg.core.video.frame_index import FrameIndex

FRAMES_FILE = "frames.jsonl"


class FrameEntry(BaseModel):
    """One line: a file, its video by content and by its name in the folder, the frame, and what made the file.

    `made_by` is the task, the version and the hash of its weights; empty for a picture. `sha256` is empty until the
    file is complete.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    file: str
    video: str
    content: str
    frame: int
    seconds: float
    made_by: str = ""
    sha256: str = ""


class FrameFolder:
    """The files of one video in a folder.

    Parameters
    ----------
    folder
        Created when the first file is recorded.
    video
        Path of the video; the files begin with its name, or with another one if a video of other content has it.
    index
        Of the video.
    made_by
        What makes the files; see `FrameEntry`.

    Raises
    ------
    MedSegError
        If `frames.jsonl` cannot be read.
    """

    def __init__(self, folder: Path, video: Path, index: FrameIndex, made_by: str = "") -> None:
        self._folder = folder
        self._index = index
        self._made_by = made_by
        self._entries = {
            entry.file: entry for entry in read_json_lines(folder / FRAMES_FILE, FrameEntry)
        }  # the last line counts
        own = (entry.video for entry in self._entries.values() if entry.content == index.content)
        taken = {get_name_key(entry.video) for entry in self._entries.values()}
        self.video = next(own, "") or make_unused_stem(make_file_stem(video.stem), taken)

    def get_path(self, number: int, suffix: str) -> Path:
        """Return the path of the file of a frame."""
        return self._folder / f"{self.video}_frame{number}{suffix}"

    def is_made(self, path: Path) -> bool:
        """Whether the file of a frame is there, made by the same version, of the same content.

        Raises
        ------
        MedSegError
            If a file is there that may not be replaced: a person's, or one that was changed since.
        """
        if not os.path.lexists(path):
            return False
        entry = self._entries.get(path.name)
        if entry is None:
            raise MedSegError(
                f"{path} exists, and {FRAMES_FILE} beside it does not say that this command made it. Move it, or "
                "choose another folder with -o; it was not overwritten."
            )
        if not entry.sha256:
            return False  # a killed command left it
        try:
            is_unchanged = compute_file_sha256(path) == entry.sha256
        except OSError as error:
            raise MedSegError(f"cannot read {path}: {format_os_error(error)}") from error
        if not is_unchanged:
            raise MedSegError(
                f"{path} was changed since it was made. Move it, or choose another folder with -o; it was not "
                "overwritten."
            )
        return entry.content == self._index.content and entry.made_by == self._made_by

    def begin(self, path: Path, number: int) -> None:
        """Note a file that will be written; call `record` when it is complete.

        Raises
        ------
        MedSegError
            If the folder cannot be written to.
        """
        entry = FrameEntry(
            file=path.name,
            video=self.video,
            content=self._index.content,
            frame=number,
            seconds=round(self._index.get_time(number), 3),
            made_by=self._made_by,
        )
        self._write(entry)

    def record(self, path: Path) -> None:
        """Note that a file is complete; it raises like `begin`."""
        try:
            sha256 = compute_file_sha256(path)
        except OSError as error:
            raise MedSegError(f"cannot read {path}: {format_os_error(error)}") from error
        self._write(self._entries[path.name].model_copy(update={"sha256": sha256}))

    def _write(self, entry: FrameEntry) -> None:
        append_json_line(self._folder / FRAMES_FILE, entry)
        self._entries[entry.file] = entry
