"""A prediction whose planes are computed: what is left needs no network and no device."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.image import Image
from napari_medseg.core.model_card import ModelCard
from napari_medseg.inference.accumulator import PredictionAccumulator
from napari_medseg.inference.events import PredictionProgress, PredictionResult, PredictionTimer
from napari_medseg.inference.out_of_domain.statistics import DomainStatistics
from napari_medseg.inference.postprocess import apply_postprocessing_step
from napari_medseg.inference.roi import Box, drop_outside_roi, paste_into_image
from napari_medseg.inference.watershed import separate_objects_in_planes


@dataclass(frozen=True, eq=False)
class ComputedPlanes:
    """All planes of an image, before post-processing.

    Parameters
    ----------
    image, card, timer
        Of the prediction.
    accumulator
        Labels and uncertainty of the planes, of the box where there is one.
    device_title, runtime
        What computed them, as in `PredictionResult`.
    roi, box
        Labels (y, x) or (z, y, x) of the region of interest and the box around it; `None` without one.
    domain, features
        Statistics of the training images, and the features of the planes, to tell unlike images.
    """

    image: Image
    card: ModelCard
    accumulator: PredictionAccumulator
    timer: PredictionTimer
    device_title: str
    runtime: str
    roi: NDArray[np.uint8 | np.uint16 | np.uint32] | None
    box: Box | None
    domain: DomainStatistics | None
    features: NDArray[np.float32]

    def finish(self) -> Iterator[PredictionProgress | PredictionResult]:
        """Yield the steps of post-processing and finally the result; it may run in any thread, once."""
        shape = self.image.spatial_shape
        labels: NDArray[Any] = self.accumulator.labels
        if self.card.instances is not None and self.accumulator.depth is not None:
            yield self.timer.make_progress(1, 1, "separating objects")
            labels = separate_objects_in_planes(labels, self.accumulator.depth, self.card.instances)
        labels = paste_into_image(labels, shape, self.box)
        if self.roi is not None and self.card.field is not None:
            drop_outside_roi(labels, self.roi, self.card.field.keep_within_mm, self.image.spacing_mm)
        for step in self.card.postprocessing:
            yield self.timer.make_progress(1, 1, step.name.replace("_", " "))
            apply_postprocessing_step(labels, step, self.image.spacing_mm)
        uncertainty_map = self.accumulator.uncertainty_map
        yield PredictionResult(
            labels=labels,
            uncertainty=self.accumulator.uncertainty,
            uncertainty_map=None if uncertainty_map is None else paste_into_image(uncertainty_map, shape, self.box),
            seconds=self.timer.elapsed_seconds,
            device=self.device_title,
            roi=self.roi,
            domain_distance=None if self.domain is None else self.domain.measure_image(self.features),
            is_like_training=self.domain is not None and self.domain.is_like_training(self.features),
            runtime=self.runtime,
        )
