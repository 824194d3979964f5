"""Plot of a training run: loss and validation Dice per epoch, in the colours of the theme."""

import pyqtgraph as pg
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QWidget

from napari_medseg.plugin.widgets import theme
from training.run_folder import EpochEnded

HEIGHT_PX = 84
AXIS_WIDTH_PX = 38
TOP_MARGIN_PX = 7


class TrainingCurve(pg.PlotWidget):
    """Plot with Dice on the left axis and loss on the right axis; the best epoch is marked."""

    def __init__(self, theme_name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFixedHeight(HEIGHT_PX)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setMenuEnabled(False)
        self.setMouseEnabled(x=False, y=False)
        self.hideButtons()
        item = self.getPlotItem()
        self._loss_view = pg.ViewBox(enableMouse=False, enableMenu=False)
        item.setContentsMargins(0, TOP_MARGIN_PX, 0, 0)  # else the topmost number is cut
        item.showAxis("right")
        item.scene().addItem(self._loss_view)
        item.getAxis("right").linkToView(self._loss_view)
        self._loss_view.setXLink(item)
        item.vb.sigResized.connect(lambda: self._loss_view.setGeometry(item.vb.sceneBoundingRect()))
        self._dice = item.plot(symbol="o", symbolSize=5, symbolPen=None)
        self._best = item.plot(pen=None, symbol="star", symbolSize=13, symbolPen=None)
        self._loss = pg.PlotDataItem()
        self._loss_view.addItem(self._loss)
        for name in ("left", "right"):
            item.getAxis(name).setWidth(AXIS_WIDTH_PX)
            item.getAxis(name).enableAutoSIPrefix(False)  # no SI prefixes such as "m" for Dice
        item.getAxis("bottom").setStyle(maxTickLevel=0)
        self._epochs: list[EpochEnded] = []
        self.set_theme(theme_name)

    @property
    def epochs(self) -> tuple[EpochEnded, ...]:
        """The plotted epochs."""
        return tuple(self._epochs)

    def set_theme(self, theme_name: str) -> None:
        """Use the colours of a napari theme."""
        self.setBackground(theme.get_plot_background(theme_name))
        text = theme.get_text_colour(theme_name)
        item = self.getPlotItem()
        dice, loss = theme.get_curve_colours(theme_name)
        self._dice.setPen(pg.mkPen(dice, width=2))
        self._dice.setSymbolBrush(dice)
        self._best.setSymbolBrush(theme.get_state_colours(theme_name)["good"])
        self._loss.setPen(pg.mkPen(loss, width=2, style=Qt.PenStyle.DashLine))
        for name, label, colour in (("left", "Dice", dice), ("right", "loss", loss)):
            item.getAxis(name).setTextPen(text)
            item.getAxis(name).setPen(text)
            item.getAxis(name).setLabel(label, color=colour)
        item.getAxis("bottom").setTextPen(text)
        item.getAxis("bottom").setPen(text)

    def clear_epochs(self) -> None:
        """Remove all epochs from the plot."""
        self._epochs = []
        self._draw()

    def add_epoch(self, epoch: EpochEnded) -> None:
        """Add one epoch."""
        self._epochs.append(epoch)
        self._draw()

    def _draw(self) -> None:
        numbers = [epoch.epoch for epoch in self._epochs]
        self._dice.setData(numbers, [epoch.val_dice for epoch in self._epochs])
        self._loss.setData(numbers, [epoch.train_loss for epoch in self._epochs])
        best = [epoch for epoch in self._epochs if epoch.best][-1:]
        self._best.setData([epoch.epoch for epoch in best], [epoch.val_dice for epoch in best])
