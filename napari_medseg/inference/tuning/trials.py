"""The trials of one measurement: precision, runtime and batch, each against the usual one."""

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.errors import MedSegError, get_reason
from napari_medseg.inference.compiled_network import FAILURES, CompiledNetwork
from napari_medseg.inference.runtimes.openvino_network import (
    OpenVinoNetwork,
    PlaneNetwork,
    compute_label_agreement,
    compute_probability_difference,
)
from napari_medseg.inference.tuning.measurement import (
    CLEAR_GAIN,
    LONGEST_PASS_S,
    Measurement,
    choose_n_planes,
    crop_sample,
    list_numbers_of_planes,
)

MIN_AGREEMENT = 0.999
"""Share of labels that must be equal in two runtimes; the card may allow bf16, which differs by more."""
MAX_DIFFERENCE = 0.02
"""Of a probability in two runtimes: it shows a lost lesion that is too small to change a part of the labels."""
OTHERWISE = "OpenVINO gives"
"""Begins the reason that a person is told."""
N_TURNS = 2
"""The first pass of a shape prepares layers; the fastest one counts."""
OTHER_SHAPE_PX = 160
"""Side of a second comparison: a converted network could hold the shape of its example."""
Precision = Literal["fp32", "bf16"]


def choose_precision(
    measured: Measurement,
    usual: CompiledNetwork,
    make_exact: Callable[[], CompiledNetwork] | None,
    sample: NDArray[np.float32],
) -> tuple[CompiledNetwork, Precision]:
    """Time torch in the precision of the device and, on a CPU with bf16, in fp32; return the faster one.

    A GPU keeps the precision of the card: with one plane the start of its layers would be timed.

    Parameters
    ----------
    measured
        Takes the trials.
    usual
        The network in the precision that the device has instructions for.
    make_exact
        Returns it in fp32; `None` if precision is not in question.
    sample
        Planes (n, c, h, w).
    """
    name: Precision = "fp32" if usual.dtype is None else "bf16"
    _time_turns(measured, f"torch {name}", usual, sample)
    if name == "fp32" or make_exact is None or measured.device.type != "cpu":
        return usual, name
    exact = make_exact()
    _time_turns(measured, "torch fp32", exact, sample)
    is_faster = measured.get_gain("torch fp32", "torch bf16") > 1 + CLEAR_GAIN
    return (exact, "fp32") if is_faster else (usual, name)


def try_openvino(
    measured: Measurement,
    exact: CompiledNetwork,
    open_network: Callable[[CompiledNetwork], OpenVinoNetwork],
    sample: NDArray[np.float32],
) -> tuple[OpenVinoNetwork | None, float | None, str]:
    """Compare OpenVINO with torch in fp32, and time it.

    Parameters
    ----------
    measured
        Takes the trial.
    exact
        The network in fp32.
    open_network
        Returns the network of OpenVINO.
    sample
        Planes (n, c, h, w) of an image of the version.

    Returns
    -------
    tuple
        The network, or `None` if it cannot be used; the share of equal labels, if it computed; and why not. A network
        that computes, but otherwise than torch, is `None` with a share.
    """
    try:
        network = open_network(exact)
        parts = (sample, crop_sample(sample, OTHER_SHAPE_PX))
        compared = [_compare(measured, network, exact, part) for part in parts]
        agreement, difference = min(share for share, _ in compared), max(largest for _, largest in compared)
        if agreement < MIN_AGREEMENT:
            return None, agreement, f"{OTHERWISE} {1 - agreement:.2%} other labels (at most {1 - MIN_AGREEMENT:.1%})"
        if difference > MAX_DIFFERENCE:
            differs = f"{OTHERWISE} probabilities that differ by {difference:.2f} (at most {MAX_DIFFERENCE})"
            return None, agreement, differs
        _time_turns(measured, "openvino fp32", network, sample)
    except (MedSegError, *FAILURES) as error:
        return None, None, get_reason(error)
    return network, agreement, ""


def measure_batches(
    measured: Measurement, network: PlaneNetwork, way: str, sample: NDArray[np.float32], usual_px: int
) -> int:
    """Return the pixels of the fastest batch; 0 for the usual one, of at most `usual_px`."""
    plane_px = sample.shape[-2] * sample.shape[-1]
    usual = max(1, usual_px // plane_px)
    each_s = (measured.find(way) or 0.0) * plane_px / 1e6
    seconds: dict[int, float] = {}
    if usual * each_s > LONGEST_PASS_S:
        seconds[usual] = each_s  # nobody could cancel while it is measured
    for n in list_numbers_of_planes(usual):
        if n not in seconds and measured.can_afford(n * each_s) and (n == 1 or n * each_s <= LONGEST_PASS_S):
            name = f"{way}, {n} x {sample.shape[-2]} x {sample.shape[-1]} px"
            if measured.time_pass(name, network, np.repeat(sample, n, axis=0)) is not None:
                seconds[n] = (measured.find(name) or 0.0) * plane_px / 1e6
    chosen = choose_n_planes(usual, seconds)
    return 0 if chosen == usual else chosen * plane_px


def _time_turns(measured: Measurement, way: str, network: PlaneNetwork, sample: NDArray[np.float32]) -> None:
    for _ in range(N_TURNS):
        measured.time_pass(way, network, sample)


def _compare(
    measured: Measurement, one: PlaneNetwork, other: PlaneNetwork, planes: NDArray[np.float32]
) -> tuple[float, float]:
    """Return the share of equal labels, and the largest difference of a probability."""
    logits = []
    for network in (one, other):
        measured.raise_if_stopped()
        logits.append(network.compute_logits(planes))
        network.take_features()
    return compute_label_agreement(*logits), compute_probability_difference(*logits)
