"""The search for images on the workers: each path of a command is a task, because all headers are read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_medseg.core.containers.image_source import ImageSource
from napari_medseg.workflow.cluster.connection import Cluster
from napari_medseg.workflow.cluster.spreading import spread
from napari_medseg.workflow.image_files.search import ImageSearch, join_searches, search_path, search_paths


@dataclass(frozen=True)
class FoundPart:
    """An image that a worker found, as plain data: an `ImageSource` without headers."""

    name: str
    paths: tuple[str, ...]
    series: str
    problem: str
    whole: str
    part: str


def find_images_of(path: str) -> tuple[list[FoundPart], list[str], list[str]]:
    """Find the images of one path: a task. Returns images, remarks and errors, as `ImageSearch`."""
    found = search_path(Path(path))
    return [_to_plain(source) for source in found.sources], found.skipped, found.errors


def search_on_cluster(cluster: Cluster, paths: Sequence[Path]) -> ImageSearch:
    """Find the images of several paths on the workers; of a single one here."""
    if len(paths) < 2:
        return search_paths(paths)
    searches: list[ImageSearch] = [ImageSearch() for _ in paths]
    for ended in spread(cluster, find_images_of, [(str(path.absolute()),) for path in paths]):
        if ended.problem:
            searches[ended.index].errors.append(f"{paths[ended.index]} cannot be searched: {ended.problem}")
        else:
            parts, skipped, errors = ended.answer
            searches[ended.index] = ImageSearch([_to_source(part) for part in parts], skipped, errors)
    return join_searches(searches)


def _to_plain(source: ImageSource) -> FoundPart:
    paths = tuple(str(path) for path in source.paths)
    return FoundPart(source.name, paths, source.series, source.problem, source.whole, source.part)


def _to_source(part: FoundPart) -> ImageSource:
    settings: dict[str, Any] = {"series": part.series, "problem": part.problem, "whole": part.whole, "part": part.part}
    return ImageSource(part.name, tuple(map(Path, part.paths)), **settings)
