"""Asks what a drop does not say: which of several images, and what the axes of arrays are."""

from collections.abc import Callable, Sequence
from functools import partial

from qtpy.compat import isalive
from qtpy.QtWidgets import QApplication, QDialog

from napari_medseg.core.containers.array_layout import ArrayLayout
from napari_medseg.core.containers.image_source import ImageSource
from napari_medseg.plugin.drops.source_chooser import SourceChooser
from napari_medseg.plugin.forms.axes_form import make_axes_form
from napari_medseg.plugin.forms.form_dialog import FormDialog
from napari_medseg.plugin.widgets.notifications import show_errors
from napari_medseg.workflow.array_layouts import recall_layout, remember_layout
from napari_medseg.workflow.workspace import Workspace

Proceed = Callable[[Sequence[ImageSource]], None]


class DropQuestions:
    """Asks one question after the other, in windows of their own; a new drop replaces an open question.

    Parameters
    ----------
    workspace
        The project, which remembers answers about arrays.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self.dialog: QDialog | None = None

    def ask(self, sources: Sequence[ImageSource], asks_which: bool, proceed: Proceed) -> None:
        """Ask what is to be asked about images, and call `proceed` with those to open; not if a question is closed."""
        self.close()

        def go_on(chosen: Sequence[ImageSource]) -> None:
            self._ask_axes(list(chosen), [], proceed)

        if asks_which:
            self._show(SourceChooser(sources, go_on, QApplication.activeWindow()))
        else:
            go_on(sources)

    def close(self) -> None:
        """Close an open question."""
        if self.dialog is not None and isalive(self.dialog):  # else Qt deleted it with the window
            self.dialog.reject()

    def _ask_axes(self, waiting: list[ImageSource], ready: list[ImageSource], proceed: Proceed) -> None:
        """Lay out arrays by what is remembered, and ask about the first one of which nothing is."""
        while waiting:
            source = waiting.pop(0)
            if not source.asks_axes:
                ready.append(source)
                continue
            known = None
            with show_errors():
                known = recall_layout(self._workspace, source)
            if known is None:
                self._ask_axes_of(source, partial(self._go_on, waiting, ready, proceed))
                return
            ready += source.lay_out(known)
        if ready:
            proceed(ready)

    def _go_on(
        self, waiting: list[ImageSource], ready: list[ImageSource], proceed: Proceed, laid_out: Sequence[ImageSource]
    ) -> None:
        self._ask_axes(waiting, [*ready, *laid_out], proceed)

    def _ask_axes_of(self, source: ImageSource, proceed: Proceed) -> None:
        assert source.array is not None

        def choose(layout: ArrayLayout, is_remembered: bool) -> None:
            images = source.lay_out(layout)
            if is_remembered:
                remember_layout(self._workspace, source, layout)
            self.dialog = None
            if len(images) > 1:
                self._show(SourceChooser(images, proceed, QApplication.activeWindow()))
            else:
                proceed(images)

        form = make_axes_form(source.array, choose)
        self._show(FormDialog(f"What are the axes of {source.name}?", "Open", form, QApplication.activeWindow()))

    def _show(self, dialog: QDialog) -> None:
        self.dialog = dialog

        def forget(*_: object) -> None:
            if self.dialog is dialog:
                self.dialog = None

        dialog.finished.connect(forget)
        dialog.show()
