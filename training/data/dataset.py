"""Labelled planes in memory, and the batches drawn from them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.snapshot import IGNORE_INDEX
from training.augmentation.copy_paste import PastePlane, paste_region
from training.augmentation.patch_batch import PatchBatch, PatchSpec
from training.augmentation.spatial import Augmenter
from training.data.class_sampling import choose_random_pixel, list_foreground_classes
from training.data.label_sets import unmark_certain
from training.recipe import PasteSettings


@dataclass(frozen=True, eq=False)
class LabelledPlane:
    """One plane on the network's grid.

    Parameters
    ----------
    views
        float16 (c, h, w) each, normalised; the first as in prediction, the others with other grey windows.
    labels
        uint8 (h, w); `IGNORE_INDEX` in pixels that were not reviewed.
    unpadded_shape
        (h, w) of the image in the plane, which is padded at the bottom and right; `None`: the whole plane.
    """

    views: tuple[NDArray[np.float16], ...]
    labels: NDArray[np.uint8]
    unpadded_shape: tuple[int, int] | None = None

    def choose_view(self, rng: np.random.Generator) -> NDArray[np.float16]:
        """Return the first view with probability 0.5, else one of the others."""
        if len(self.views) == 1 or rng.random() < 0.5:
            return self.views[0]
        return self.views[rng.integers(1, len(self.views))]


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """The planes of one training or validation image; `weight` is its relative frequency of being drawn.

    `source` is the data source that it is from, for `PasteSettings`.
    """

    name: str
    planes: tuple[LabelledPlane, ...]
    weight: float = 1.0
    source: str = ""


@dataclass(frozen=True)
class BatchSampler:
    """Sampler of batches that depend only on seed and step, so that a resumed run gets the same batches.

    Parameters
    ----------
    train, replay
        New training images, and older images for replay. Images are drawn by weight, then their planes uniformly.
    augmenter, replay_augmenter
        Cut patches from new images and from replayed images.
    batch_size, replay_share
        Number of patches in a batch, and the share of replayed patches, if there are replayed images.
    seed
        Seed of all random numbers.
    foreground_share
        Share of new patches with a labelled centre: each class in turn, then an image with this class, then a pixel.
    window_overlap_px
        If it is a number, new patches are not random: they are windows with at least this overlap, each once per pass,
        in a different order in each pass. Image weights and `foreground_share` are then ignored.
    paste
        Which regions are pasted from one image into another before a random patch is cut.
    """

    train: Sequence[LabelledImage]
    replay: Sequence[LabelledImage]
    augmenter: Augmenter
    replay_augmenter: Augmenter
    batch_size: int
    replay_share: float
    seed: int
    foreground_share: float = 0.0
    window_overlap_px: int | None = None
    paste: PasteSettings = field(default_factory=PasteSettings)

    @property
    def n_replayed(self) -> int:
        """Number of replayed patches in each batch; they come first."""
        return round(self.batch_size * self.replay_share) if self.replay else 0

    @property
    def n_new(self) -> int:
        """Number of new patches in each batch."""
        return self.batch_size - self.n_replayed

    @property
    def steps_per_pass(self) -> int:
        """Number of steps until every window was used; the last step may repeat some windows."""
        return max(1, -(-len(self.windows) // self.n_new))

    @cached_property
    def windows(self) -> list[tuple[LabelledPlane, tuple[float, float]]]:
        """Plane and centre of every window with valid pixels; empty if patches are drawn at random."""
        if self.window_overlap_px is None:
            return []
        side = self.augmenter.patch_px
        return [
            (plane, centre)
            for image in self.train
            for plane in image.planes
            for centre in compute_window_centres(
                plane.unpadded_shape or plane.labels.shape, side, self.window_overlap_px
            )
            if (_crop_around(plane.labels, centre, side) != IGNORE_INDEX).any()
        ]

    def sample_batch(self, step: int) -> PatchBatch:
        """Draw the patches of one step; replayed patches come first."""
        rng = np.random.default_rng([self.seed, step])
        drawn = [_sample_patch(self.replay, self.replay_augmenter, rng) for _ in range(self.n_replayed)]
        drawn += [self._sample_new_patch(step, place, rng) for place in range(self.n_new)]
        return self.augmenter.collate(drawn, seed=int(rng.integers(2**62)))

    def make_batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Return patches (n, c, patch, patch) float32 and labels (n, patch, patch) int64 of one step, on the CPU."""
        return self.sample_batch(step).make_patches()

    def _sample_new_patch(self, step: int, place: int, rng: np.random.Generator) -> PatchSpec:
        if self.window_overlap_px is not None:
            return self._cut_window(step, place, rng)
        if self.paste.share and rng.random() < self.paste.share:
            return self._sample_pasted_patch(rng)
        if self.foreground_share and self._images_by_class and rng.random() < self.foreground_share:
            return self._sample_class_patch(step * self.n_new + place, rng)
        return _sample_patch(self.train, self.augmenter, rng)

    def _cut_window(self, step: int, place: int, rng: np.random.Generator) -> PatchSpec:
        passes, step_of_pass = divmod(step, self.steps_per_pass)
        order = np.random.default_rng([self.seed, passes]).permutation(len(self.windows))
        plane, centre = self.windows[order[(step_of_pass * self.n_new + place) % len(order)]]
        return self.augmenter.sample_patch(plane.choose_view(rng), plane.labels, rng, centre)

    def _sample_pasted_patch(self, rng: np.random.Generator) -> PatchSpec:
        """Draw a plane and another one that its labelled region is pasted onto; if they do not fit, use the plane."""
        guest, host = (sample_plane(pool, rng) for pool in self._paste_pools)
        own = _remove_padding(guest, rng)
        pasted = paste_region(own, _remove_padding(host, rng), self.paste) or own
        return self.augmenter.sample_patch(pasted.pixels, pasted.labels, rng)

    @cached_property
    def _paste_pools(self) -> tuple[Sequence[LabelledImage], Sequence[LabelledImage]]:
        """Images whose regions are pasted, and images that they are pasted onto."""
        guests, hosts = (
            [image for image in self.train if not wanted or image.source in wanted]
            for wanted in (self.paste.sources, self.paste.onto)
        )
        guests = [image for image in guests if any(list_foreground_classes(plane.labels) for plane in image.planes)]
        if not guests or not hosts:
            raise MedSegError(
                f"nothing can be pasted: the sources {list(self.paste.sources)} have no labelled training image, "
                f"or {list(self.paste.onto)} have no training image. Name other sources in data.paste."
            )
        return guests, hosts

    def _sample_class_patch(self, turn: int, rng: np.random.Generator) -> PatchSpec:
        classes = sorted(self._images_by_class)
        value = classes[turn % len(classes)]
        image = _sample_image(self._images_by_class[value], rng)
        plane = image.planes[int(rng.integers(len(image.planes)))]
        return self.augmenter.sample_patch(
            plane.choose_view(rng), plane.labels, rng, choose_random_pixel(unmark_certain(plane.labels) == value, rng)
        )

    @cached_property
    def _images_by_class(self) -> dict[int, list[LabelledImage]]:
        """For each class, the images that contain it, with only the planes that contain it."""
        found: dict[int, list[LabelledImage]] = {}
        for image in self.train:
            present = [(plane, list_foreground_classes(plane.labels)) for plane in image.planes]
            for value in {value for _, classes in present for value in classes}:
                planes = tuple(plane for plane, classes in present if value in classes)
                found.setdefault(value, []).append(replace(image, planes=planes))
        return found


def _sample_patch(pool: Sequence[LabelledImage], augmenter: Augmenter, rng: np.random.Generator) -> PatchSpec:
    """Draw a patch at a random place; in a partly reviewed plane, with a reviewed pixel as its centre."""
    plane = sample_plane(pool, rng)
    looked_at = plane.labels != IGNORE_INDEX
    centre = None if looked_at.all() else choose_random_pixel(looked_at, rng)
    return augmenter.sample_patch(plane.choose_view(rng), plane.labels, rng, centre)


def sample_plane(pool: Sequence[LabelledImage], rng: np.random.Generator) -> LabelledPlane:
    """Draw an image by weight, then one of its planes."""
    image = _sample_image(pool, rng)
    return image.planes[int(rng.integers(len(image.planes)))]


def _remove_padding(plane: LabelledPlane, rng: np.random.Generator) -> PastePlane:
    rows, columns = plane.unpadded_shape or plane.labels.shape
    return PastePlane(plane.choose_view(rng)[:, :rows, :columns], unmark_certain(plane.labels[:rows, :columns]))


def _sample_image(pool: Sequence[LabelledImage], rng: np.random.Generator) -> LabelledImage:
    shares = np.cumsum([image.weight for image in pool])
    return pool[int(np.searchsorted(shares, rng.random() * shares[-1], side="right"))]


def _crop_around(labels: NDArray[np.uint8], centre: tuple[float, float], side_px: int) -> NDArray[np.uint8]:
    top, left = (max(0, round(place - side_px / 2)) for place in centre)
    return labels[top : top + side_px, left : left + side_px]


def compute_window_centres(shape: tuple[int, ...], side_px: int, overlap_px: int) -> list[tuple[float, float]]:
    """Return row and column of the centres of all windows, in pixels, row by row.

    Parameters
    ----------
    shape
        (h, w) of the image. If a side is shorter than the window, there is one window around its middle.
    side_px, overlap_px
        Side of a window, and minimum overlap of two neighbours. The number of windows is as small as possible; they are
        evenly spread, and the outer ones are at the image border.
    """
    rows, columns = (_compute_centres_along_axis(length, side_px, overlap_px) for length in shape[:2])
    return [(row, column) for row in rows for column in columns]


def _compute_centres_along_axis(length: int, side_px: int, overlap_px: int) -> list[float]:
    if length <= side_px:
        return [length / 2]
    count = -(-(length - overlap_px) // (side_px - overlap_px))
    return [float(start) + side_px / 2 for start in np.linspace(0, length - side_px, count).round()]
