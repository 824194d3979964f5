"""The strip of a video below the canvas: its time axis, playing, and what is done with its frames."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLabel,
    QMenu,
    QSizePolicy,
    QSpinBox,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_medseg.core.video.frame_images import format_time
from napari_medseg.core.video.frame_index import FrameIndex
from napari_medseg.plugin.video.timeline import Timeline
from napari_medseg.plugin.widgets import theme
from napari_medseg.plugin.widgets.collapsible_section import make_row
from napari_medseg.plugin.widgets.notifications import show_errors

MIN_LENGTH = 12
PLAY, PAUSE = "▶ Play", "❚❚ Pause"


class VideoStrip(QWidget):
    """The widgets of the strip; they only emit what a person wants.

    Notes
    -----
    `moved` carries a frame number, `video_chosen` the path of another video. The others are named after their buttons.
    """

    moved = Signal(int)
    video_chosen = Signal(object)
    back_requested = Signal()
    play_toggled = Signal()
    take_requested = Signal()
    every_requested = Signal()
    change_requested = Signal()
    series_requested = Signal()
    predict_requested = Signal()
    export_requested = Signal()
    close_requested = Signal()
    cancel_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._index: FrameIndex | None = None
        self.timeline = Timeline()
        self.timeline.moved.connect(self.moved)
        self.videos = VideoChoice()
        self.videos.chosen.connect(self.video_chosen)
        self.time = QLabel()
        self.number = QSpinBox()
        self.number.setKeyboardTracking(False)
        self.number.setToolTip("Number of the frame, from 0; type one to go there")
        self.number.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.number.valueChanged.connect(self.moved)
        self.play_button = theme.make_button(PLAY, "Play with the labels that are predicted, ten pictures a second")
        self.play_button.clicked.connect(self.play_toggled)
        self.take_button = theme.make_button("Take this frame", "Make a case of this frame and open it", main=True)
        self.take_button.clicked.connect(self.take_requested)
        self.back_button = theme.make_button("Back to the video", "Show the video at this frame; the draft is saved")
        self.back_button.clicked.connect(self.back_requested)
        self.back_button.hide()
        self.choose_button = self._make_menu(
            "Choose frames ▾",
            "Make cases of several frames",
            ("Every n-th frame…", self.every_requested),
            ("Where the image changes…", self.change_requested),
            ("A short series from here, to correct through time…", self.series_requested),
        )
        self.predict_button = theme.make_button(
            "Predict range…", "Labels for each n-th frame, in the background; they are shown while playing"
        )
        self.predict_button.clicked.connect(self.predict_requested)
        self.export_button = theme.make_button(
            "Export…", "Frames and masks, COCO with video ids, or a video with labels"
        )
        self.export_button.clicked.connect(self.export_requested)
        close = theme.make_tool_button("✕", "Close the video; its cases stay", "medseg-plain")
        close.clicked.connect(self.close_requested)
        self.progress = QLabel()
        self.progress.setObjectName("medseg-muted")
        self.cancel_button = theme.make_tool_button("Stop", "Stop this; what is done is kept", "medseg-plain")
        self.cancel_button.clicked.connect(self.cancel_requested)
        self.cancel_button.hide()
        self._lay_out(close)

    @property
    def questions(self) -> tuple[Any, ...]:
        """The signals of the buttons that ask before they do something, in the order of `video_questions.Question`."""
        chosen = (self.every_requested, self.change_requested, self.series_requested)
        return (*chosen, self.predict_requested, self.export_requested)

    def set_theme(self, name: str) -> None:
        """Use the colours of a napari theme."""
        self.setStyleSheet(theme.make_style_sheet(name))
        self.timeline.set_theme(name)

    def show_video(self, index: FrameIndex) -> None:
        """Show a video from its first frame on."""
        self._index = index
        self.time.setToolTip(f"{index.n_frames:,} frames, {format_time(index.duration_s)}")
        self.timeline.show_video(index)
        with QSignalBlocker(self.number):
            self.number.setRange(0, index.n_frames - 1)
        self.set_number(0)
        self.set_enabled(enabled=True)

    def show_mode(self, *, on_video: bool) -> None:
        """Show the button that takes a frame, or the way back to the video from a case."""
        shown, hidden = (self.take_button, self.back_button) if on_video else (self.back_button, self.take_button)
        hidden.hide()  # first: with both, the row would be wider for a moment, and Qt would make room at once
        shown.show()

    def set_enabled(self, *, enabled: bool) -> None:
        """Enable what needs an open video."""
        buttons = (self.play_button, self.take_button, self.choose_button, self.predict_button, self.export_button)
        for widget in (*buttons, self.number, self.timeline):
            widget.setEnabled(enabled)

    def set_number(self, number: int) -> None:
        """Show the number and the time of the frame that is seen."""
        if self._index is None:
            return
        self.timeline.set_number(number)
        with QSignalBlocker(self.number):
            self.number.setValue(number)
        self.time.setText(f"{format_time(self._index.get_time(number))} / {format_time(self._index.duration_s)}")

    def show_near(self, number: int) -> None:
        """Say that another picture is seen while the wanted one is decoded."""
        if self._index is not None:
            self.time.setText(f"near: {format_time(self._index.get_time(number))} …")

    def set_playing(self, *, playing: bool) -> None:
        """Show whether the video plays."""
        self.play_button.setText(PAUSE if playing else PLAY)

    def set_progress(self, text: str) -> None:
        """Show what is being done, with a button that stops it; empty: nothing."""
        self.progress.setText(text)
        self.progress.setToolTip(text)
        self.cancel_button.setVisible(bool(text))

    def _make_menu(self, text: str, tooltip: str, *entries: tuple[str, Signal]) -> QToolButton:
        button = theme.make_tool_button(text, tooltip)
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(button)
        for title, signal in entries:
            menu.addAction(title, signal.emit)
        button.setMenu(menu)
        return button

    def _lay_out(self, close: QWidget) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 2, 6, 2)
        layout.setSpacing(2)
        self.progress.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)  # a long text is cut
        about = QHBoxLayout()
        about.addWidget(self.videos, stretch=2)
        for widget in (self.time, self.number):
            about.addWidget(widget)
        about.addWidget(self.progress, stretch=3)
        about.addWidget(self.cancel_button)
        about.addWidget(close)
        layout.addLayout(about)
        layout.addWidget(self.timeline)
        seen = (self.play_button, self.take_button, self.back_button)
        actions = (*seen, self.choose_button, self.predict_button, self.export_button)
        layout.addWidget(make_row(*actions, QLabel(""), stretch=len(actions)))
        layout.addStretch(1)


class VideoChoice(QComboBox):
    """Shows which video is open; `chosen` carries the path of another one.

    `list_known` returns the videos of the project; it is asked when a person opens the list, as it looks for files.
    """

    chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._dropped: list[Path] = []
        self.list_known: Callable[[], Sequence[Path]] = tuple
        self._about = ""
        self.setToolTip("Videos that were dropped, or of which this project has frames")
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)  # long names are cut
        self.setMinimumContentsLength(MIN_LENGTH)
        self.activated.connect(lambda row: self.chosen.emit(self.itemData(row)))

    def add_dropped(self, videos: Sequence[Path]) -> None:
        """Keep videos that were dropped."""
        self._dropped += [path for path in videos if path not in self._dropped]

    def forget_shown(self) -> Path | None:
        """List the video that is shown no more, because a person closed it; return its path."""
        video: Path | None = self.currentData()
        self._dropped = [path for path in self._dropped if path != video]
        return video

    def showPopup(self) -> None:
        """List also the videos of the project, then open the list."""
        if (video := self.currentData()) is not None:
            with show_errors():
                self.show_video(video, self.list_known())
        super().showPopup()

    def show_video(self, video: Path, known: Sequence[Path] = ()) -> None:
        """List the videos, with the one that is open; videos of one name are told apart by their folders."""
        videos = list(dict.fromkeys([*self._dropped, *known, video]))
        counts = Counter(path.name for path in videos)
        with QSignalBlocker(self):
            self.clear()
            for row, path in enumerate(videos):
                self.addItem(path.name if counts[path.name] == 1 else f"{path.parent.name}/{path.name}", path)
                self.setItemData(row, str(path), Qt.ItemDataRole.ToolTipRole)
            self.setCurrentIndex(videos.index(video))
