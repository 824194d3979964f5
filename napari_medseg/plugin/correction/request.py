"""What a tool asks the editor to do."""

from collections.abc import Callable, Generator
from dataclasses import dataclass

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
    make_edit: MakeEdit, canvas: Canvas, session: EditSession | None
) -> Generator[tuple[Edit, PreparedStroke | None]]:
    """Return a generator for a thread that yields an edit, and what the session prepares for it."""
    version = -1 if session is None else session.draft.version
    return _compute(make_edit, canvas, session, version)


def _compute(
    make_edit: MakeEdit, canvas: Canvas, session: EditSession | None, version: int
) -> Generator[tuple[Edit, PreparedStroke | None]]:
    edit = make_edit(canvas)
    yield edit, None if session is None else session.recorder.prepare_edit(edit, version)
