"""Which voxels a person set: no tool changes them, unless the person does it."""

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.project.strokes import Spans
from napari_medseg.workflow.drafts import Draft


class Protection:
    """The voxels of a draft that a person set, and what a repeated outline step may change again.

    Grow, shrink and smooth are repeated until the outline fits. What one step changed counts as set by a person, so
    that the next step would change nothing: so the steps in a row all use what was protected before the first one.
    """

    def __init__(self) -> None:
        self._known: tuple[Spans, NDArray[np.bool_]] | None = None
        self._before_steps: Spans | None = None

    def find(self, draft: Draft, *, is_outline_step: bool = False) -> Spans:
        """Return the protected voxels."""
        return self._before_steps if is_outline_step and self._before_steps is not None else draft.edited

    def make_mask(self, protected: Spans | None, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
        """Return protected voxels as a mask, bool of the shape of the labels; `None` if there are none.

        The last one is kept. It takes long for a large volume, so that a thread may call this.
        """
        if protected is None or not protected.start.size:
            return None
        known = self._known
        if known is None or known[0] is not protected or known[1].shape != shape:
            known = self._known = protected, protected.make_mask(shape)
        return known[1]

    def set_steps(self, protected: Spans | None) -> None:
        """Remember what was protected before an outline step was applied; `None` after any other change of labels."""
        self._before_steps = protected

    def clear(self) -> None:
        """Forget all, as another case is open."""
        self._known = self._before_steps = None


def make_plane_mask(protected: Spans | None, shape: tuple[int, ...], plane: int) -> NDArray[np.bool_] | None:
    """Return a mask of a volume that is filled in on one slice only, which takes no time for the others."""
    if protected is None:
        return None
    mask = np.zeros(shape, np.bool_)  # memory that the system gives when it is touched
    n_pixels = mask[0].size
    mask[plane] = protected.crop(plane * n_pixels, (plane + 1) * n_pixels).make_mask(shape[1:])
    return mask
