"""A file that is received to its end although it cannot be written: so what comes after it is understood."""

import contextlib
import logging
from pathlib import Path
from typing import IO, Self

from napari_medseg.core.atomic_io import make_temporary_path, replace_file
from napari_medseg.core.errors import get_reason

logger = logging.getLogger(__name__)


class BestEffortFile:
    """A file that appears if all of it could be written, and `keep` was called; a full disk is no error.

    Parameters
    ----------
    path
        Where it appears; `None` throws away what is written.

    Attributes
    ----------
    fault
        Why it did not appear; `None` as long as nothing failed.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._unfinished = None if path is None else make_temporary_path(path)
        self._file: IO[bytes] | None = None
        self.fault: OSError | None = None

    def write(self, data: bytes, /) -> None:
        """Take the next bytes."""
        if self._file is not None:
            try:
                self._file.write(data)
            except OSError as error:
                self._give_up(error)

    def keep(self) -> None:
        """Let it appear: it is complete."""
        if self._file is None or self._unfinished is None or self._path is None:
            return
        try:
            self._file.close()
            replace_file(self._unfinished, self._path)
        except OSError as error:
            self._give_up(error)

    def __enter__(self) -> Self:
        if self._unfinished is not None:
            try:
                self._unfinished.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._unfinished.open("wb")
            except OSError as error:
                self._give_up(error)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            if self._file is not None:
                self._file.close()
            if self._unfinished is not None:
                self._unfinished.unlink(missing_ok=True)

    def _give_up(self, error: OSError) -> None:
        self.fault = error
        logger.info("%s is not kept: %s", "it" if self._path is None else self._path.name, get_reason(error))
        with contextlib.suppress(OSError):
            if self._file is not None:
                self._file.close()
        self._file = None
