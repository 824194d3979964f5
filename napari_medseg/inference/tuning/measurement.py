"""A short measurement: the time of forward passes on planes that were predicted before."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_medseg.core.errors import is_out_of_memory
from napari_medseg.inference.compiled_network import FAILURES
from napari_medseg.inference.device import free_cached_memory
from napari_medseg.inference.runtimes.openvino_model import SMALLEST_SIDE_PX
from napari_medseg.inference.runtimes.openvino_network import PlaneNetwork
from napari_medseg.inference.tuning.settings import BUDGET_S
from napari_medseg.inference.tuning.tuned_choice import Trial
from napari_medseg.networks.padding import ALIGNMENT_PX

logger = logging.getLogger(__name__)

LONGEST_PASS_S = 0.25
"""Cancel is noticed between passes; an engine that does not notice it in `CANCEL_SECONDS` is killed."""
CLEAR_GAIN = 0.05
"""Part of the time by which a way must be faster than the usual one; less is noise."""


class MeasurementStopped(Exception):
    """Somebody cancelled, or needs the device: nothing was chosen, and it is measured another time."""


@dataclass
class Measurement:
    """Times passes on a device until the budget is used up.

    Parameters
    ----------
    device
        Where the passes run.
    budget_s
        See `BUDGET_S`.
    is_stopped
        Asked before each pass.
    clock
        Returns seconds, for a device.
    """

    device: torch.device
    budget_s: float = BUDGET_S
    is_stopped: Callable[[], bool] = lambda: False
    clock: Callable[[torch.device], float] = lambda device: read_clock(device)
    trials: list[Trial] = field(default_factory=list)
    spent_s: float = 0.0

    def time_pass(self, way: str, network: PlaneNetwork, planes: NDArray[np.float32]) -> Tensor | None:
        """Run planes once and note the seconds per million pixels; return the logits, `None` if memory ran out.

        A pass of the same way that was faster before counts: other work on the computer only makes passes slower.
        Raises `MeasurementStopped` instead of a pass.
        """
        self.raise_if_stopped()
        began = self.clock(self.device)
        logits: Tensor | None = None
        try:
            logits = network.compute_logits(planes)
        except FAILURES as error:
            if not is_out_of_memory(error):
                raise
        network.take_features()
        logits_s = self.clock(self.device) - began
        self.spent_s += logits_s
        if logits is None:
            free_cached_memory(self.device)
            return None
        pixels = planes.shape[0] * planes.shape[-2] * planes.shape[-1]
        self._note(way, max(logits_s, 1e-9) / pixels * 1e6)
        return logits

    def raise_if_stopped(self) -> None:
        """Raise `MeasurementStopped` if the measurement is to end."""
        if self.is_stopped():
            raise MeasurementStopped

    def can_afford(self, seconds: float) -> bool:
        """Whether the budget lasts for so many more seconds."""
        return self.spent_s + seconds <= self.budget_s

    def find(self, way: str) -> float | None:
        """Return the seconds per million pixels of a way; `None` if it was not measured."""
        return next((trial.seconds_per_mp for trial in self.trials if trial.way == way), None)

    def get_gain(self, way: str, usual: str) -> float:
        """Return how many times as fast as the usual way another one is; 0 if one of them was not measured."""
        fast, slow = self.find(way), self.find(usual)
        return 0.0 if fast is None or slow is None else slow / fast

    def _note(self, way: str, seconds_per_mp: float) -> None:
        before = self.find(way)
        self.trials = [trial for trial in self.trials if trial.way != way]
        fastest = seconds_per_mp if before is None else min(before, seconds_per_mp)
        self.trials.append(Trial(way=way, seconds_per_mp=fastest))


def read_clock(device: torch.device) -> float:
    """Return seconds of the clock; for a CPU of the processor, per thread, so that other programs do not count."""
    if device.type == "cpu":
        return time.process_time() / torch.get_num_threads()
    if device.type == "cuda":
        torch.cuda.synchronize(device)  # passes are queued; what counts is when they are done
    elif device.type == "mps":
        torch.mps.synchronize()
    return time.perf_counter()


def crop_sample(
    planes: NDArray[np.float32], longest_px: int, focus: tuple[float, float] = (0.5, 0.5)
) -> NDArray[np.float32]:
    """Return a part of planes (n, c, h, w), with sides that are multiples of 32 and at most `longest_px`.

    The middle of the part is as near as possible to `focus`, (y, x) in parts of the height and width of the planes.
    """
    sides = [min(side, longest_px) // ALIGNMENT_PX * ALIGNMENT_PX or side for side in planes.shape[-2:]]
    top, left = (
        min(max(0, round(at * side - part / 2)), side - part)
        for at, side, part in zip(focus, planes.shape[-2:], sides, strict=True)
    )
    return np.ascontiguousarray(planes[..., top : top + sides[0], left : left + sides[1]])


def enlarge_sample(planes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return planes (n, c, h, w), repeated as far as OpenVINO needs it: see `openvino_network.accepts`."""
    sides = [max(SMALLEST_SIDE_PX, -(-side // ALIGNMENT_PX) * ALIGNMENT_PX) for side in planes.shape[-2:]]
    added = [(0, wanted - side) for wanted, side in zip(sides, planes.shape[-2:], strict=True)]
    return planes if not any(map(any, added)) else np.pad(planes, [(0, 0), (0, 0), *added], mode="wrap")


def choose_n_planes(usual: int, seconds: dict[int, float]) -> int:
    """Return how many planes go through the network at once.

    Parameters
    ----------
    usual
        Number that is used without a measurement.
    seconds
        Seconds per plane of each number that was measured.

    Returns
    -------
    int
        The usual one, unless another whose passes are short enough for Cancel is clearly faster, or the passes of the
        usual one are too long.
    """
    short = {n: each for n, each in seconds.items() if n * each <= LONGEST_PASS_S or n == 1}
    if not short or usual not in seconds:
        return usual
    limit = min(short.values()) * (1 + CLEAR_GAIN)
    return usual if seconds[usual] <= limit and usual in short else min(n for n, each in short.items() if each <= limit)


def list_numbers_of_planes(usual: int) -> list[int]:
    """Return the numbers of planes to measure, the usual one first."""
    return list(dict.fromkeys([usual, max(1, usual // 2), usual * 2]))
