"""Features of training and validation images, from the encoder of a version."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from napari_medseg.core.snapshot import SnapshotItem
from napari_medseg.inference.out_of_domain.features import FeaturePool, find_encoder
from napari_medseg.inference.out_of_domain.statistics import Features
from napari_medseg.networks.padding import get_alignment_px
from training.data.dataset import LabelledImage
from training.run_setup import spread_indices

MAX_PLANES_PER_SOURCE = 64
MAX_PLANES_PER_IMAGE = 16


@dataclass(frozen=True, eq=False)
class KnownFeatures:
    """Features (n, features) of planes of training and validation images, with the source and the group of each."""

    features: Features
    sources: NDArray[np.str_]
    groups: NDArray[np.str_]
    n_fine: int = 0
    """Number of features of the fine maps, which come first."""

    @property
    def columns(self) -> list[slice]:
        """The columns of each group of features: of the fine and of the coarse maps."""
        n_features = self.features.shape[1]
        return [slice(0, self.n_fine)] + ([slice(self.n_fine, n_features)] if self.n_fine < n_features else [])

    def select(self, chosen: NDArray[np.bool_]) -> "KnownFeatures":
        """Return some of the planes, given a mask (n,)."""
        return KnownFeatures(self.features[chosen], self.sources[chosen], self.groups[chosen], self.n_fine)


@dataclass(frozen=True, eq=False)
class _KnownPlane:
    pixels: NDArray[np.float16]
    source: str
    group: str


def collect_features(
    network: nn.Module, images: Sequence[LabelledImage], group_of: Mapping[str, str], limit_s: float | None = None
) -> KnownFeatures:
    """Run planes of images through the encoder of a network, and pool its features.

    Parameters
    ----------
    network
        In evaluation mode, on any device.
    images
        At most `MAX_PLANES_PER_SOURCE` planes of each source are used.
    group_of
        Group of each image by its name.
    limit_s
        Seconds after which no further plane is used; `None` for no limit.
    """
    chosen = _choose_planes(images, group_of)
    found, n_fine = pool_planes(network, [plane.pixels for plane in chosen], limit_s)
    kept = sorted(found)
    features: Features = np.array([found[index] for index in kept], dtype=np.float64).reshape(len(kept), -1)
    sources, groups = ([getattr(chosen[index], part) for index in kept] for part in ("source", "group"))
    return KnownFeatures(features, np.array(sources, dtype=str), np.array(groups, dtype=str), n_fine)


@torch.no_grad()
def pool_planes(
    network: nn.Module, planes: Sequence[NDArray[np.floating]], limit_s: float | None = None
) -> tuple[dict[int, NDArray[np.float32]], int]:
    """Return the features of planes (c, h, w) by their place, and the number of features of the fine maps.

    The order is random, so that all sources have planes if the time runs out. Nothing is returned of a network without
    an encoder to listen to.
    """
    encoder, began, found = find_encoder(network), time.monotonic(), dict[int, NDArray[np.float32]]()
    if encoder is None:
        return found, 0
    pool, device = FeaturePool(network), next(network.parameters()).device
    for index in np.random.default_rng(0).permutation(len(planes)):
        if limit_s is not None and time.monotonic() - began > limit_s:
            break
        plane = torch.from_numpy(planes[index][np.newaxis]).float().to(device)
        encoder(_pad_to_alignment(plane, network))
        if len(pooled := pool.take()):
            found[int(index)] = pooled[0]
    pool.close()
    return found, pool.n_fine


def map_groups(items: Sequence[SnapshotItem]) -> dict[str, str]:
    """Return the group of each item by its name."""
    return {item.name: item.group or item.name for item in items}


def thin_items(items: Sequence[SnapshotItem]) -> list[SnapshotItem]:
    """Return at most `MAX_PLANES_PER_SOURCE` items of a snapshot of each source, evenly spread."""
    by_source: dict[str, list[SnapshotItem]] = defaultdict(list)
    for item in items:
        by_source[item.source].append(item)
    return [some[index] for some in by_source.values() for index in spread_indices(len(some), MAX_PLANES_PER_SOURCE)]


def _choose_planes(images: Sequence[LabelledImage], group_of: Mapping[str, str]) -> list[_KnownPlane]:
    """Choose planes, evenly spread over the images of each source."""
    by_source: dict[str, list[_KnownPlane]] = defaultdict(list)
    for image in images:
        group, mine = group_of.get(image.name, image.name), by_source[image.source]
        for number in spread_indices(len(image.planes), MAX_PLANES_PER_IMAGE):
            mine.append(_KnownPlane(image.planes[number].views[0], image.source, group))  # as it is predicted
    return [
        planes[index] for planes in by_source.values() for index in spread_indices(len(planes), MAX_PLANES_PER_SOURCE)
    ]


def _pad_to_alignment(planes: torch.Tensor, network: nn.Module) -> torch.Tensor:
    """Pad planes (n, c, h, w) as the network does, which is passed by."""
    alignment = get_alignment_px(network)
    down, right = (-side % alignment for side in planes.shape[-2:])
    return functional.pad(planes, (0, right, 0, down), mode="replicate") if down or right else planes
