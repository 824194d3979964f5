"""Steps that change training labels before training; a source or a recipe names the steps, in order.

Labels of the hold-out are never changed: a model trained on dilated masks is evaluated with the original masks.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.segmentation import expand_labels, find_boundaries, watershed

from napari_medseg.core.errors import MedSegError, look_up
from napari_medseg.core.model_card import PostprocessingStep
from training.data.instance_targets import compute_depth_classes

OBJECT_SMOOTHING_PX = 2.0
OBJECT_RADIUS_PX = 6

Labels = NDArray[np.integer[Any]]


def apply_label_steps(labels: Labels, steps: Sequence[PostprocessingStep], ignored_value: int | None = None) -> Labels:
    """Apply steps to each plane, in order.

    Parameters
    ----------
    labels
        (y, x) or (n, y, x), integers, on the original grid of the image: label values or object numbers. Not changed.
    steps
        Steps whose names are keys of `LABEL_STEPS`.
    ignored_value
        Value of unlabelled pixels: background for all steps, and restored at the end.

    Returns
    -------
    Labels
        Integer array of the same shape.

    Raises
    ------
    MedSegError
        If a step or an option is unknown; the text lists the choices.
    """
    if not steps:
        return labels
    ignored = labels == ignored_value if ignored_value is not None else np.zeros(labels.shape, bool)
    planes = np.where(ignored, 0, labels).reshape(-1, *labels.shape[-2:]).astype(labels.dtype)
    for step in steps:
        function = _get_step(step)
        planes = np.stack([function(plane, **step.options) for plane in planes])
    changed = planes.reshape(labels.shape)
    if ignored_value is not None:
        changed = np.where(ignored, ignored_value, changed).astype(np.result_type(changed, labels))
    return changed


def binarise(labels: Labels) -> Labels:
    """Return label 1 where `labels` is not 0, uint8 of the same shape."""
    return (labels > 0).astype(np.uint8)


def dilate(labels: Labels, radius_px: float = 3.0) -> Labels:
    """Let labels (y, x) grow into the background by `radius_px` pixels; each pixel takes the nearest label."""
    grown: Labels = expand_labels(labels, distance=radius_px)
    return grown


def mark_boundaries(labels: Labels, width_px: float = 2.0) -> Labels:
    """Return class 1 inside objects (y, x) and 2 on their rims, uint8 (Caicedo et al., 2019).

    The rim is inside the object and `width_px` pixels wide. The image border is not a rim.
    """
    rim = find_boundaries(labels, mode="inner")
    classes = (labels > 0).astype(np.uint8)
    if rim.any():
        classes[(labels > 0) & (ndimage.distance_transform_edt(~rim) < width_px)] = 2
    return classes


def compute_distance_classes(labels: Labels, n_levels: int = 2) -> Labels:
    """Return classes 1 to `n_levels` by depth inside the object, relative to its largest depth; (y, x), uint8."""
    return compute_depth_classes(labels, [level / n_levels for level in range(n_levels)])


def split_touching(labels: Labels) -> Labels:
    """Give numbers to the objects of a mask (y, x), uint16 or uint32; a watershed separates them at narrow places.

    The result is an estimate, accurate enough for training if the mask does not separate the objects.
    """
    mask = labels > 0
    depth = ndimage.gaussian_filter(ndimage.distance_transform_edt(mask), OBJECT_SMOOTHING_PX)
    tops = peak_local_max(depth, min_distance=OBJECT_RADIUS_PX, labels=ndimage.label(mask)[0], exclude_border=False)
    markers = np.zeros(mask.shape, np.int32)
    markers[tuple(tops.T)] = np.arange(1, len(tops) + 1)
    dtype = np.uint16 if len(tops) < 2**16 else np.uint32
    objects: Labels = watershed(-depth, markers, mask=mask).astype(dtype)
    return objects


def drop_outside_air(labels: Labels) -> Labels:
    """Remove pieces of each label (y, x) that touch the image border, except its largest piece.

    In cropped slices, thresholds label the air beside the chest as lung; the network must not learn this error.
    """
    kept = labels.copy()
    for value in np.unique(labels[labels > 0]):
        pieces, n_pieces = ndimage.label(labels == value, structure=np.ones((3, 3)))
        sizes = np.bincount(pieces.ravel(), minlength=n_pieces + 1)[1:]
        border = np.unique(np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]]))
        doomed = [piece for piece in border if piece > 0 and piece != int(np.argmax(sizes)) + 1]
        kept[np.isin(pieces, doomed)] = 0
    return kept


LABEL_STEPS: dict[str, Callable[..., Labels]] = {
    "binarise": binarise,
    "boundaries": mark_boundaries,
    "dilate": dilate,
    "distance": compute_distance_classes,
    "drop_outside_air": drop_outside_air,
    "split_touching": split_touching,
}


def _get_step(step: PostprocessingStep) -> Callable[..., Labels]:
    function = look_up(LABEL_STEPS, step.name, "label step")
    choices = list(inspect.signature(function).parameters)[1:]
    if unknown := sorted(step.options.keys() - set(choices)):
        raise MedSegError(f"the step {step.name} has no options {unknown}; choose among {choices}")
    return function
