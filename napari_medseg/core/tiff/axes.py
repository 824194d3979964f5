"""The axes of a TIFF series: which one is the stack, which one holds the samples of a pixel, and which are refused."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_medseg.core.errors import MedSegError

# Z is a depth; Q (unknown) and I (pages in a row) are what a plain multi-page file gives.
_STACK_AXES = "ZQI"
_IF_SLICES = "If they are slices of a volume, say so in the file (ImageJ: Image > Properties; tifffile: axes ZYX)."
_ADVICE = {
    "C": f"Save each channel as a file of its own (in ImageJ: Image > Color > Split Channels). {_IF_SLICES}",
    "T": f"Save one time point as a file (in ImageJ: Image > Duplicate). {_IF_SLICES}",
}
_AXIS_NAMES = {"C": "channels", "T": "time points"}


@dataclass(frozen=True)
class TiffAxes:
    """How to bring a series to (stack, y, x, samples).

    Parameters
    ----------
    order
        The axes of the series in the order dropped axes (of length 1), stack axis if any, y, x, samples axis if any.
    shape
        Shape after the transpose: (y, x, samples) or (stack, y, x, samples); `samples` is 1 without a samples axis.
    """

    order: tuple[int, ...]
    shape: tuple[int, ...]

    def arrange(self, values: NDArray[Any]) -> NDArray[Any]:
        """Bring the pixels of the series to `shape`."""
        return np.transpose(values, self.order).reshape(self.shape)


def find_axes(axes: str, shape: tuple[int, ...], name: str) -> TiffAxes:
    """Find the stack and the samples among the axes of a series.

    Parameters
    ----------
    axes, shape
        Letters of tifffile and lengths of the series; axes of length 1 are dropped, except rows and columns.
    name
        File name, for the error.

    Raises
    ------
    MedSegError
        If there are channels, time points or other axes than a stack, or two stacks.
    """
    kept = [n for n, letter in enumerate(axes) if shape[n] > 1 or letter in "YX"]
    letters = "".join(axes[n] for n in kept)
    for n in kept:
        if axes[n] not in f"{_STACK_AXES}YXS":
            raise MedSegError(_explain_axis(axes, shape, n, name))
    stack = [n for n in kept if axes[n] in _STACK_AXES]
    samples = [n for n in kept if axes[n] == "S"]
    if letters.count("Y") != 1 or letters.count("X") != 1 or len(stack) > 1 or len(samples) > 1:
        raise MedSegError(
            f"{name} has {len(kept)} dimensions ({axes}: {_format_size(shape)}); one plane or one stack of planes is "
            "expected. Save one stack as a separate file."
        )
    kept_order = [*stack, axes.index("Y"), axes.index("X"), *samples]
    dropped = [n for n in range(len(axes)) if n not in kept_order]
    lengths = tuple(shape[n] for n in kept_order)
    return TiffAxes((*dropped, *kept_order), lengths if samples else (*lengths, 1))


def _explain_axis(axes: str, shape: tuple[int, ...], n: int, name: str) -> str:
    letter = axes[n]
    what = _AXIS_NAMES.get(letter) or f"steps along the axis {tifffile.TIFF.AXES_NAMES.get(letter, letter)!r}"
    advice = _ADVICE.get(letter, "Save one step as a separate file.")
    return (
        f"{name} has {shape[n]} {what} ({axes}: {_format_size(shape)}); one plane or one stack of slices is expected. "
        f"{advice}"
    )


def _format_size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
