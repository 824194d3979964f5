"""Finds the masks among what is dropped on the window, before it is opened as images."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QWidget

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.controllers.prediction_queue import PredictionQueue
from napari_medseg.plugin.controllers.worklist import Worklist
from napari_medseg.plugin.masks.data_set_import import DataSetImport
from napari_medseg.plugin.masks.mask_question import MaskQuestion
from napari_medseg.plugin.masks.open_case_mask import OpenCaseMask
from napari_medseg.plugin.masks.pair_import import PairImport
from napari_medseg.plugin.widgets.collapsible_section import stack_widgets
from napari_medseg.plugin.widgets.notifications import show_notice
from napari_medseg.workflow.masks.drops import SplitDrop, iterate_split, looks_like_mask
from napari_medseg.workflow.workspace import Workspace

if TYPE_CHECKING:
    from napari import Viewer


class DroppedMasks(QWidget):
    """Takes masks out of a drop, and asks about them: the question, and the progress of an import, in the dock.

    Files that come with their images are imported as pairs, a mask without an image is one for the open case. A file
    whose name tells nothing is looked at when it is read: if it has the grid of the open case and looks like labels, a
    person is asked.

    Parameters
    ----------
    viewer, workspace, case_controller, worklist, prediction_queue
        The window, the project, the controller of the open case, the list, and what predicts.
    """

    def __init__(
        self,
        viewer: "Viewer",
        workspace: Workspace,
        case_controller: CaseController,
        worklist: Worklist,
        prediction_queue: PredictionQueue,
    ) -> None:
        super().__init__()
        self._case_controller = case_controller
        self._read_images: Callable[[Sequence[Path]], None] = worklist.importer.read_as_images
        self._waiting: tuple[Path, Sequence[Path]] | None = None
        self.question = MaskQuestion()
        self.open_case_mask = OpenCaseMask(
            viewer, workspace, case_controller, prediction_queue, lambda: worklist.open_task, self.question
        )
        self.pair_import = PairImport(workspace, worklist, self.question, self._leave_case_of)
        self.open_case_mask.import_second = self.pair_import.import_open_case
        self.data_set_import = DataSetImport(workspace, worklist, self.question, self._leave_case_of)
        stack_widgets(self, self.question, self.pair_import, self.data_set_import)
        case_controller.opened.connect(self._on_opened)
        case_controller.open_failed.connect(self._forget_waiting)
        worklist.importer.set_mask_finder(iterate_split, self.take_masks, self.take_image)

    def close_down(self) -> None:
        """Stop reading and importing."""
        self.open_case_mask.close()
        self.pair_import.close_down()
        self.data_set_import.close_down()

    def take_masks(self, found: SplitDrop, paths: Sequence[Path]) -> list[Path]:
        """Ask about the masks that were found among these paths, and return those to be opened as images."""
        self._waiting = None
        if found.data_set is not None:
            self.data_set_import.ask_about(found.data_set)
            return []
        if found.pairs:
            self._ask_about_pairs(found, paths)
            return list(found.images)
        if len(found.masks) != 1:
            return list(paths)
        if found.images:
            self._waiting = found.masks[0], found.images  # its image is being opened
            return list(found.images)
        if self._case_controller.current is None:
            return list(paths)
        self._ask_about(found.masks[0])
        return []

    def _ask_about_pairs(self, found: SplitDrop, paths: Sequence[Path]) -> None:
        """Ask about images with their masks: of the open case, or as an import; say what of a study is left out."""
        if found.masks:
            names = ", ".join(path.name for path in found.masks)
            show_notice(f"{names}: the series has another mask in this drop. Drop it on the open case later.")
        mask = found.pairs[0].single_mask
        if len(found.pairs) == 1 and mask is not None and self._is_open(found.pairs[0].image):
            if found.n_left_out:
                show_notice(f"{found.n_left_out} other images of the drop stay closed: drop them without the mask.")
            self._ask_about(mask)
            return
        is_study = any(pair.source is not None for pair in found.pairs)
        images = list(paths) if is_study else [pair.image for pair in found.pairs]
        self.pair_import.ask_about(found.pairs, lambda: self._read_images(images), found.n_left_out)

    def take_image(self, image: Image) -> bool:
        """Ask about an image that was read alone if it looks like a mask of the open case; return whether it does."""
        current = self._case_controller.current
        if current is None or len(image.sources) != 1 or image.spatial_axes != current.image.spatial_axes:
            return False
        is_same = image.has_same_grid(current.image) and image.content_hash != current.case.content_hash
        if not is_same or not looks_like_mask(image):
            return False
        self._ask_about(image.sources[0])
        return True

    def _ask_about(self, mask: Path) -> None:
        self.open_case_mask.ask_about(mask, lambda: self._read_images([mask]))

    def _on_opened(self) -> None:
        if self._waiting is not None and self._case_controller.current is not None:
            (mask, images), self._waiting = self._waiting, None
            if any(map(self._is_open, images)):  # not if they could not be read, and another case was opened
                self._ask_about(mask)

    def _forget_waiting(self) -> None:
        self._waiting = None

    def _is_open(self, image: Path) -> bool:
        """Whether a file, or a folder of a series, is the image of the open case."""
        current = self._case_controller.current
        sources = () if current is None else current.image.sources
        return any(image.absolute() in (source.absolute(), source.absolute().parent) for source in sources)

    def _leave_case_of(self, image: Image) -> None:
        """Close the case of an image if it is open, as a draft has one writer; refuse while its labels are saved."""
        for case in self._case_controller.saver.cases:
            if case.content_hash == image.content_hash:
                raise MedSegError(
                    f"the labels of {case.name} are being saved. Nothing was changed; drop it again soon."
                )
        current = self._case_controller.current
        if current is not None and current.case.content_hash == image.content_hash:
            self._case_controller.close_case()
            self._case_controller.closer.wait(current.case)
