"""A network as an ONNX file, checked with ONNX Runtime: the same label at each pixel."""

import contextlib
import io
import logging
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

from napari_medseg.core.errors import MedSegError, get_reason
from napari_medseg.core.model_card import ModelCard

ONNX_FILE = "model.onnx"
INPUT, OUTPUT = "planes", "logits"
STRIDE_PX = 32
_MAX_STEPS = 256
"""Planes of up to 8,192 px; the sides are multiples of `STRIDE_PX`."""
_CHECKED_SHAPES = ((1, 64, 96), (2, 128, 64))
_TOLERANCE = 1e-3
_INSTALL = 'ONNX files need packages that are not installed: pip install "napari-medseg[onnx]".'


def has_onnx() -> bool:
    """Whether the packages that write and check ONNX are installed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError:
        return False
    return True


def write_onnx(network: nn.Module, card: ModelCard, path: Path) -> float:
    """Write a network that maps float32 (n, channels, h, w) to logits (n, classes, h, w); h and w are multiples of 32.

    Returns
    -------
    float
        Largest difference of a logit from that of PyTorch, on random planes.

    Raises
    ------
    MedSegError
        If packages are missing, ONNX cannot hold the network, or it computes another label anywhere.
    """
    if not has_onnx():
        raise MedSegError(_INSTALL)
    dim = torch.export.Dim
    sides = {2: STRIDE_PX * dim("rows", min=2, max=_MAX_STEPS), 3: STRIDE_PX * dim("columns", min=2, max=_MAX_STEPS)}
    example = torch.zeros(2, card.architecture.in_channels, 4 * STRIDE_PX, 5 * STRIDE_PX)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            logging.getLogger("torch.onnx").setLevel(logging.ERROR)
            torch.onnx.export(
                network.eval(),
                (example,),
                str(path),
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: dim("n"), **sides},),
                dynamo=True,
                external_data=False,
            )
        return _compare(network, card, path)
    except (RuntimeError, ValueError, TypeError, AttributeError, KeyError, NotImplementedError) as error:
        path.unlink(missing_ok=True)
        raise MedSegError(f"ONNX cannot hold {card.architecture.name}: {get_reason(error)[:200]}") from error


def _compare(network: nn.Module, card: ModelCard, path: Path) -> float:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    largest = 0.0
    for n, rows, columns in _CHECKED_SHAPES:
        planes = np.random.default_rng(0).normal(size=(n, card.architecture.in_channels, rows, columns))
        planes = planes.astype(np.float32)
        with torch.inference_mode():
            expected = network(torch.from_numpy(planes)).numpy()
        found = session.run(None, {INPUT: planes})[0]
        gap = np.sort(expected, axis=1)
        is_clear = gap[:, -1] - gap[:, -2] > 2 * _TOLERANCE  # where two labels are equally likely, rounding decides
        largest = max(largest, float(np.abs(found - expected).max()))
        if largest > _TOLERANCE or (found.argmax(axis=1) != expected.argmax(axis=1))[is_clear].any():
            raise ValueError(f"it computes other labels there (logits differ by {largest:.3g})")
    return largest
