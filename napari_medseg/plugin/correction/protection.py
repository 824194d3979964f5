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
        self._before_steps: NDArray[np.bool_] | None = None

    def find(self, draft: Draft, *, is_outline_step: bool = False) -> NDArray[np.bool_]:
        """Return the protected voxels, bool of the shape of the labels."""
        if is_outline_step and self._before_steps is not None:
            return self._before_steps
        edited = draft.edited
        if self._known is None or self._known[0] is not edited:
            self._known = edited, edited.make_mask(draft.labels.shape)
        return self._known[1]

    def set_steps(self, protected: NDArray[np.bool_] | None) -> None:
        """Remember what was protected before an outline step was applied; `None` after any other change of labels."""
        self._before_steps = protected

    def clear(self) -> None:
        """Forget all, as another case is open."""
        self._known = self._before_steps = None
