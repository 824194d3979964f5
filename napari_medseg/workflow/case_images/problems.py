"""Cases whose image is missing or cannot be read. Each is told by itself; the work on the others goes on."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from napari_medseg.core.records import Case


class ImageFault(StrEnum):
    """What is wrong with the image of a case."""

    MISSING = "missing"
    UNREADABLE = "unreadable"


@dataclass(frozen=True)
class ImageProblem:
    """What is wrong with the image of a case, and what to do.

    `text` names files, so it is for the window, and for a command only where clear names are asked for.
    """

    fault: ImageFault
    text: str

    @property
    def short_text(self) -> str:
        """A few words that name no file."""
        return "image is missing" if self.fault is ImageFault.MISSING else "image cannot be read"


class ImageProblems:
    """What is known of the images of a project in this session, by case; threads write it, too.

    A file that is missing is found by looking (`look_up.find_image_problems`), a damaged one when it is read.
    """

    def __init__(self) -> None:
        self._found: dict[int, ImageProblem] = {}
        self.n_changes = 0

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[int]:
        """Iterate over the numbers of the cases that have a problem."""
        return iter(list(self._found))

    def copy(self) -> dict[int, ImageProblem]:
        """Return all problems, by the number of the case."""
        return dict(self._found)

    def get(self, case: Case) -> ImageProblem | None:
        """Return what is wrong with the image of a case; `None` if nothing is known to be."""
        return self._found.get(case.id)

    def put(self, case: Case, problem: ImageProblem | None) -> None:
        """Remember a problem, or that there is none."""
        if self._found.get(case.id) == problem:
            return
        if problem is None:
            self._found.pop(case.id, None)
        else:
            self._found[case.id] = problem
        self.n_changes += 1
