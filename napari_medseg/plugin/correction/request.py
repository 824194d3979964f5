"""What a tool asks the editor to do."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.editing.canvas import Canvas
from napari_medseg.core.editing.edit import Edit
from napari_medseg.core.project.strokes import PreparedStroke
from napari_medseg.plugin.drafts.closer import EditSession

MakeEdit = Callable[[Canvas], Edit]


@dataclass(frozen=True, eq=False)
class Request:
    """What a tool wants to do.

    Parameters
    ----------
    make_edit
        Makes the edit from a canvas; it runs in a thread for a large volume.
    protects
        Whether voxels that a person set stay as they are.
    in_volume
        Whether it may need all slices.
    preview_edit
        Makes the edit of the shown slice alone, which is shown until the thread is done.
    is_outline
        Whether it moves an outline by steps, such as grow, shrink and smooth. A step may change what the steps directly
        before it changed, though those count as set by a person.
    """

    make_edit: MakeEdit
    protects: bool = True
    in_volume: bool = False
    preview_edit: MakeEdit | None = None
    is_outline: bool = False


def compute_edit(
    make_edit: MakeEdit, canvas: Canvas, find_protected: Callable[[], NDArray[np.bool_] | None], session: EditSession
) -> Generator[tuple[Edit, PreparedStroke | None]]:
    """Return a generator for a thread that yields an edit, and what the session prepares for it.

    `find_protected` is called in the thread: a mask of a whole volume takes long.
    """
    version = session.draft.version
    return _compute(lambda: make_edit(replace(canvas, protected=find_protected())), session, version)


def _compute(
    make_edit: Callable[[], Edit], session: EditSession, version: int
) -> Generator[tuple[Edit, PreparedStroke | None]]:
    edit = make_edit()
    yield edit, session.recorder.prepare_edit(edit, version)
