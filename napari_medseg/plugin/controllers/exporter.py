"""Export of accepted cases, in a thread."""

from collections.abc import Callable, Generator, Sequence
from functools import partial
from pathlib import Path

from napari.utils.notifications import show_info
from qtpy.QtCore import QObject

from napari_medseg.core.records import Case, Correction
from napari_medseg.plugin.widgets.notifications import show_errors, show_problem
from napari_medseg.plugin.widgets.worker import Worker
from napari_medseg.workflow.output import export
from napari_medseg.workflow.output.export_plan import ExportItem
from napari_medseg.workflow.output.image_names import make_namer
from napari_medseg.workflow.workspace import Workspace


class Exporter(QObject):
    """Writes the accepted cases of a task to a folder, in a thread."""

    def __init__(self, workspace: Workspace, parent: QObject) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self._worker: Worker | None = None

    def write(
        self,
        task: str,
        suffix: str,
        folder: Path,
        *,
        with_images: bool = False,
        straighten: bool = False,
        names: str = "group",
    ) -> None:
        """Start the export; a notification shows the result or the error.

        `straighten` is for gantry tilt; `names` is a `core.file_names.Naming`.
        """
        with show_errors():
            accepted = export.list_accepted_rows(self._workspace, task)
            namer = make_namer(names, self._workspace.registry.user_dir)
            write = partial(
                export.export_corrections,
                folder=folder,
                suffix=suffix,
                with_images=with_images,
                namer=namer,
                straighten=straighten,
            )
            self._worker = Worker(_write_items(self._workspace, accepted, write), self)
            self._worker.yielded.connect(lambda files: show_info(f"Exported {len(files)} files to {folder}"))
            self._worker.failed.connect(show_problem)
            self._worker.start()


def _write_items(
    workspace: Workspace,
    accepted: Sequence[tuple[Case, Correction, str]],
    write: Callable[[list[ExportItem]], list[Path]],
) -> Generator[list[Path]]:
    yield write(export.read_export_items(workspace, accepted))
