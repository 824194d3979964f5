"""Do the doubtful places lead to the nuclei that are wrong? Looks until a share of them was seen.

`python benchmarks/doubtful_objects.py --data ../shared/data --role validate` predicts fields by the live nuclei model.
An object is wrong if it is missed, false, or merged with another one (intersection over union up to 0.5). A look shows
what lies within 100 pixels of the screen around its middle, as in `annotator.py`. Three tours are compared, each of
which ends with the squares of the image that are left, row by row: the doubtful places of the program, those of tasks
without numbered objects (ranked by uncertain voxels, as they were for nuclei before), and the squares alone. The lowest
possible number is about that of a tour that knows where the wrong objects are, always the most of them next.
"""

import argparse
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from annotator import RECIPES, SOURCES, predict
from annotator_errors import MATCHED, compute_best_overlap, find_centre, find_false_objects
from annotator_hand import choose_zoom
from annotator_person import Work
from annotator_search import Place, find_doubtful_centres, list_stops

from napari_medseg.core.model_registry import BUNDLED_MODELS, ModelRegistry
from napari_medseg.core.snapshot import Role
from napari_medseg.core.tasks.bundled_tasks import get_task
from napari_medseg.inference.predictor import Predictor
from training.data.labelled_cases import LabelledCase, pair_by_stem
from training.from_folders.base_recipe import read_model_recipe

SHARES = (0.25, 0.5, 0.75)


def main() -> None:
    """Predict the fields and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--role", default="hold_out", choices=["hold_out", "validate"])
    options = parser.parse_args()
    found: dict[str, list[list[int]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        registry = ModelRegistry(Path(folder) / "registry", BUNDLED_MODELS)
        predictor = Predictor.load(registry.get_folder(registry.get_live_card("nuclei").id))
        for case in list_cases(options.data, Role(options.role)):
            work = predict(predictor, case, "nuclei", Path(folder))
            wrong = find_wrong_objects(work)
            if not len(wrong):
                continue
            reach_px = work.sight_px / choose_zoom(work.draft.shape)
            for name, tour in list_tours(work, wrong, reach_px):
                found.setdefault(name, []).append([count_looks(tour, wrong, reach_px, share) for share in SHARES])
    print(f"| tour | fields | {' | '.join(f'looks to {share:.0%} of the wrong ones' for share in SHARES)} |")
    print("|---" * (len(SHARES) + 2) + "|")
    for name, counts in found.items():
        means = (statistics.fmean(column) for column in zip(*counts, strict=True))
        print(f"| {name} | {len(counts)} | {' | '.join(f'{mean:.1f}' for mean in means)} |")


def list_cases(data: Path, role: Role) -> Iterator[LabelledCase]:
    """Yield the fields of a role that have numbered labels."""
    name, wanted = SOURCES["nuclei"]
    for source in read_model_recipe(RECIPES / name).sources:
        if source.name in wanted:
            pairs = pair_by_stem(data / source.images, data / source.labels)
            roles = source.assign_roles([pair.name for pair in pairs], data)
            yield from (pair for pair in pairs if roles[pair.name][1] is role)


def find_wrong_objects(work: Work) -> np.ndarray:  # type: ignore[type-arg]
    """Return the centres (n, 2) of objects that are missed or false."""
    regions = [work.truth == number for number in np.unique(work.truth[work.truth > 0])]
    missed = [find_centre(region) for region in regions if compute_best_overlap(work.draft, region) <= MATCHED]
    false = [find_centre(work.draft == number) for number in find_false_objects(work.draft, work.truth)]
    return np.array([*missed, *false]).reshape(-1, 2)


def list_tours(work: Work, wrong: np.ndarray, reach_px: float) -> Iterator[tuple[str, list[Place]]]:  # type: ignore[type-arg]
    """Yield the tours by name."""
    by_voxels = replace(work, task=get_task("instruments"), draft=(work.draft > 0).astype(np.uint8))
    for name, places in (
        ("doubtful places", find_doubtful_centres(work)),
        ("ranked by voxels", find_doubtful_centres(by_voxels)),
        ("row by row", []),
    ):
        yield name, [*places, *list_stops(work.draft.shape, reach_px, places)]
    yield "knows where they are", _make_best_tour(wrong, reach_px)


def _make_best_tour(wrong: np.ndarray, reach_px: float) -> list[Place]:  # type: ignore[type-arg]
    left, tour = wrong, []
    while len(left):
        counts = [(np.linalg.norm(left - middle, axis=1) <= reach_px).sum() for middle in wrong]
        tour.append(wrong[int(np.argmax(counts))])
        left = left[np.linalg.norm(left - tour[-1], axis=1) > reach_px]
    return tour


def count_looks(tour: Sequence[Place], wrong: np.ndarray, reach_px: float, share: float) -> int:  # type: ignore[type-arg]
    """Return the looks after which so many of the wrong objects were near the middle of one; all and one if never."""
    seen = np.zeros(len(wrong), np.bool_)
    for number, stop in enumerate(tour, start=1):
        seen |= np.linalg.norm(wrong - stop, axis=1) <= reach_px
        if seen.mean() >= share:
            return number
    return len(tour) + 1


if __name__ == "__main__":
    main()
