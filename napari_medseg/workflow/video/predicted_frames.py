"""The labels of predicted frames of a video: one small file beside the project, written frame by frame.

It is named after the content of the video, the task and the model, so that it is found again when the video was moved,
and names no one. A prediction that was stopped goes on where it ended. It holds nothing that a person made.
"""

import sqlite3
import threading
import zlib
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.file_names import make_file_stem
from napari_medseg.core.video.video_reader import VideoReader

PREDICTED_FOLDER = "video"
_LEVEL = 1
"""Of zlib: labels of 1080 lines take some 10 kB and 10 ms."""
_TABLE = "CREATE TABLE IF NOT EXISTS frames (number INTEGER PRIMARY KEY, dtype TEXT NOT NULL, labels BLOB NOT NULL)"


def make_video_key(reader: VideoReader) -> str:
    """Return 16 hexadecimal digits for the content of a video, wherever it lies and whatever it is called."""
    return reader.index.content[:16]


class PredictedFrames:
    """The labels of some frames of one video, by one version of a model. It may be used from several threads.

    Parameters
    ----------
    path
        The file; created if it is missing, and made again if it is damaged.
    shape
        Height and width of the frames.
    """

    def __init__(self, path: Path, shape: tuple[int, int]) -> None:
        self.path = path
        self._shape = shape
        self._lock = threading.Lock()
        self._is_closed = False
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = self._connect()
        self._numbers = np.array(sorted(row[0] for row in self._query("SELECT number FROM frames")), np.int64)

    @classmethod
    def open(cls, project_folder: Path, reader: VideoReader, task: str, model: str) -> Self:
        """Open the file of a video for a task and a version such as ``instruments-unet@3``."""
        name = make_file_stem(f"{make_video_key(reader)}-{task}-{model}")
        return cls(project_folder / PREDICTED_FOLDER / f"{name}.sqlite", reader.shape[1:3])

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Numbers of the predicted frames, ascending."""
        return self._numbers

    def write(self, number: int, labels: NDArray[Any]) -> None:
        """Keep the labels of a frame (height, width); nothing is kept if the file was closed meanwhile."""
        packed = zlib.compress(np.ascontiguousarray(labels).tobytes(), _LEVEL)
        with self._lock:
            if self._is_closed:  # by the window, while the engine predicted
                return
            with self._connection:
                self._connection.execute(
                    "INSERT OR REPLACE INTO frames VALUES (?, ?, ?)", (int(number), labels.dtype.str, packed)
                )
            if number not in self._numbers:
                self._numbers = np.sort(np.append(self._numbers, number))

    def read(self, number: int) -> NDArray[Any] | None:
        """Return the labels of a frame (height, width); `None` if it is not predicted."""
        found = self._query("SELECT dtype, labels FROM frames WHERE number = ?", (int(number),))
        if not found:
            return None
        dtype, packed = found[0]
        expected = self._shape[0] * self._shape[1] * np.dtype(dtype).itemsize
        try:
            content = zlib.decompressobj().decompress(packed, expected)
        except zlib.error:  # damaged: it is predicted again
            return None
        return np.frombuffer(content, dtype).reshape(self._shape) if len(content) == expected else None

    def find_shown(self, number: int, reach: int) -> int | None:
        """Return the predicted frame whose labels are shown on a frame: the last one, at most `reach` before it."""
        place = int(np.searchsorted(self._numbers, number, side="right")) - 1
        if place < 0 or number - int(self._numbers[place]) > reach:
            return None
        return int(self._numbers[place])

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._is_closed = True
            self._connection.close()

    def _query(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return self._connection.execute(query, values).fetchall()
            except sqlite3.ProgrammingError:  # closed by the window meanwhile
                return []

    def _connect(self) -> sqlite3.Connection:
        for _try in range(2):
            connection = sqlite3.connect(self.path, check_same_thread=False)
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute(_TABLE)
                connection.execute("SELECT count(*) FROM frames").fetchone()
            except sqlite3.DatabaseError:
                connection.close()
                self.path.unlink(missing_ok=True)  # nothing of it is a person's work
            else:
                return connection
        raise MedSegError(f"{self.path.name} cannot be written. Free disk space, or ask for permission.")
