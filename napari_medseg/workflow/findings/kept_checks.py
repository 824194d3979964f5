"""What was found out about each correction, kept in one small database of the project's cache.

A correction never changes, so it is checked once: in the window soon after Accept, in a thread. A project of thousands
is then read in a fraction of a second. The file is a cache: a damaged one is removed, and all is found again.
"""

import contextlib
import logging
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from napari_medseg.core.quality.label_checks import Finding
from napari_medseg.core.quality.label_mixups import SIDE_PX, EdgeThumbnail
from napari_medseg.core.quality.label_set_checks import LabelContent
from napari_medseg.workflow.findings.certain_voxels import CertainVoxels
from napari_medseg.workflow.hold_out.content_check import CHECKS_FOLDER

logger = logging.getLogger(__name__)

CHECKS_FILE = "corrections.sqlite"
_N_OUTLINE_BYTES = SIDE_PX * SIDE_PX // 8
_N_EDGE_BYTES = SIDE_PX * SIDE_PX * 4
_DATABASE_ERRORS = (sqlite3.Error, OSError)


@dataclass(frozen=True)
class CorrectionCheck:
    """The result of checking one correction; `certain` is `None` if its journal is damaged."""

    findings: list[Finding]
    sketch: EdgeThumbnail
    content: LabelContent
    certain: CertainVoxels | None = None


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    findings: list[Finding]
    counts: dict[int, int]
    n_pixels: int
    is_constant: bool
    certain: CertainVoxels | None


class KeptChecks(contextlib.AbstractContextManager["KeptChecks"]):
    """The kept checks of a project, used in one thread; if the file cannot be used, nothing is kept.

    Parameters
    ----------
    folder
        Project folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / CHECKS_FOLDER / CHECKS_FILE
        self._database: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        for _ in range(2):  # a damaged file is removed once
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._database = sqlite3.connect(self._path, isolation_level=None, timeout=1.0, check_same_thread=False)
                self._database.execute("PRAGMA synchronous = OFF")
                self._database.execute(
                    "CREATE TABLE IF NOT EXISTS checks (key TEXT PRIMARY KEY, content TEXT, sketch BLOB)"
                )
                return self
            except _DATABASE_ERRORS as error:
                self._give_up(error)
        return self

    def __exit__(self, *_error: object) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def read(self, key: str) -> CorrectionCheck | None:
        """Return the check of a correction; `None` if it is not kept, or damaged."""
        if self._database is None:
            return None
        try:
            row = self._database.execute("SELECT content, sketch FROM checks WHERE key = ?", [key]).fetchone()
            return None if row is None else _decode(*row)
        except _DATABASE_ERRORS as error:
            self._give_up(error)
        except (ValidationError, ValueError, TypeError) as error:
            logger.info("a kept check is made again: %s", error)
        return None

    def write(self, key: str, check: CorrectionCheck) -> None:
        """Keep the check of a correction; if that is impossible, it is made again next time."""
        if self._database is None:
            return
        values = (key, _encode_content(check), _encode_sketch(check.sketch))
        try:
            self._database.execute("INSERT OR REPLACE INTO checks VALUES (?, ?, ?)", values)
        except _DATABASE_ERRORS as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        """Close the file; a damaged one is removed, one that another process writes to is left."""
        logger.info("%s is not used: %s", self._path, error)
        self.__exit__()
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)


def _encode_content(check: CorrectionCheck) -> str:
    content = check.content
    return _Stored(
        findings=check.findings,
        counts=dict(content.counts),
        n_pixels=content.n_pixels,
        is_constant=content.is_constant,
        certain=check.certain,
    ).model_dump_json()


def _encode_sketch(sketch: EdgeThumbnail) -> bytes:
    edges = np.ascontiguousarray(sketch.gradient_magnitude, "<f4").tobytes()
    return edges + np.packbits(sketch.label_outline).tobytes()


def _decode(content: str, sketch: bytes) -> CorrectionCheck:
    if len(sketch) != _N_EDGE_BYTES + _N_OUTLINE_BYTES:
        raise ValueError(f"a sketch has {len(sketch)} bytes")
    stored = _Stored.model_validate_json(content)
    edges = np.frombuffer(sketch, "<f4", SIDE_PX * SIDE_PX).reshape(SIDE_PX, SIDE_PX)
    if not np.isfinite(edges).all():
        raise ValueError("a sketch is damaged")
    outline = np.unpackbits(np.frombuffer(sketch, np.uint8, offset=_N_EDGE_BYTES)).astype(bool)
    found = LabelContent(stored.counts, stored.n_pixels, stored.is_constant)
    return CorrectionCheck(
        stored.findings, EdgeThumbnail(edges, outline.reshape(SIDE_PX, SIDE_PX)), found, stored.certain
    )
