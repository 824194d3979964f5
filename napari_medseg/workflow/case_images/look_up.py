"""Which cases have lost their image: folders are listed and paths are looked up, but no file is read.

A network drive answers slowly, so a folder is asked once for all its files, and a slide once for all its fields.
"""

import os
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path

from napari_medseg.core.containers.addresses import find_address
from napari_medseg.core.containers.part_paths import exists
from napari_medseg.core.file_names import use_slashes
from napari_medseg.core.project.case_files import get_image_copy_path
from napari_medseg.core.records import Case
from napari_medseg.workflow.case_images.problems import ImageFault, ImageProblem
from napari_medseg.workflow.cases import CaseRow
from napari_medseg.workflow.workspace import Workspace

CASES_PER_STEP = 100
MAX_NAMED = 3


def find_image_problems(folder: Path, cases: Sequence[Case]) -> Generator[list[tuple[Case, ImageProblem | None]]]:
    """Yield, some cases at a time, whether their image is there; `None` if it is. It may run in a thread.

    A case whose files are missing has its image as long as the project has a copy. Addresses on the web are not asked,
    and an image that came from no file may be in the memory of the window.

    Parameters
    ----------
    folder
        Project folder.
    cases
        Cases to look at.
    """
    places = _Places()
    for begin in range(0, len(cases), CASES_PER_STEP):
        yield [(case, _find_problem(folder, case, places)) for case in cases[begin : begin + CASES_PER_STEP]]


def mark_lost_images(ws: Workspace, rows: Sequence[CaseRow]) -> list[CaseRow]:
    """Return rows that say whose image is missing; for a command, which waits for it."""
    for found in find_image_problems(ws.project.folder, [row.case for row in rows]):
        for case, problem in found:
            ws.image_problems.put(case, problem)
    return [replace(row, image_problem=ws.image_problems.get(row.case)) for row in rows]


def has_image_copy(folder: Path, case: Case) -> bool:
    """Whether the project has a copy of the image of a case."""
    return get_image_copy_path(folder, case.content_hash).exists()


def _find_problem(folder: Path, case: Case, places: "_Places") -> ImageProblem | None:
    lost = [path for path in (Path(use_slashes(source)) for source in case.sources) if not places.has(path)]
    if not lost or has_image_copy(folder, case):
        return None
    named = ", ".join(str(path) for path in lost[:MAX_NAMED])
    more = f" and {len(lost) - MAX_NAMED:,} more" if len(lost) > MAX_NAMED else ""
    return ImageProblem(
        ImageFault.MISSING,
        f"Its image is missing: {named}{more}. Connect the drive or put the files back, or drop them again from their "
        "folder; strokes and decisions are kept.",
    )


class _Places:
    """Looks up paths; what is known of a folder, or of a file that holds several images, is kept."""

    def __init__(self) -> None:
        self._names: dict[Path, frozenset[str]] = {}
        self._holds_parts: dict[Path, bool] = {}

    def has(self, path: Path) -> bool:
        """Whether a path is there, or the file that holds it; what is inside of that is not looked up."""
        if find_address(path) is not None:
            return True
        parent = path.parent
        if parent in self._holds_parts:
            return self._holds_parts[parent]
        if parent not in self._names and not self._list(parent):
            return self._holds_parts.setdefault(parent, exists(path))
        return path.name in self._names[parent] or exists(path)  # its capitals may differ from those on the disk

    def _list(self, folder: Path) -> bool:
        """List a folder; return whether it is one that holds files."""
        if folder.suffix.lower() == ".zarr":
            return False
        try:
            with os.scandir(folder) as found:
                self._names[folder] = frozenset(entry.name for entry in found)
        except OSError:
            return False
        return True
