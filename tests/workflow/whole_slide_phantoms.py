"""Small slides in real TIFF pyramids, and models that find dark discs on them without a network."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy import ndimage

from napari_medseg.core.image import Image
from napari_medseg.core.model_card import ModelCard, Preprocessing
from napari_medseg.core.model_registry import BUNDLED_MODELS, ModelRegistry
from napari_medseg.core.slides.slide import Slide
from napari_medseg.inference.events import PredictionEvent, PredictionProgress, PredictionResult
from napari_medseg.workflow.whole_slide.chunks import ChunkGrid
from napari_medseg.workflow.whole_slide.plan import SlidePlan, make_plan

UM_PER_PX = 0.25


def draw_discs(height: int, width: int, n_discs: int, radius: int = 8, seed: int = 3) -> NDArray[np.uint8]:
    """Return an RGB picture with dark discs on pink that do not touch each other, many on any line."""
    rng = np.random.default_rng(seed)
    picture = np.full((height, width, 3), (235, 190, 215), np.uint8)
    taken = np.zeros((height, width), bool)
    rows, columns = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disc = rows**2 + columns**2 <= radius**2
    for y, x in rng.integers(radius + 2, [height - radius - 2, width - radius - 2], (20 * n_discs, 2)):
        around = (slice(y - radius - 2, y + radius + 3), slice(x - radius - 2, x + radius + 3))
        if n_discs and not taken[around].any():
            inside = (slice(y - radius, y + radius + 1), slice(x - radius, x + radius + 1))
            taken[inside] |= disc
            picture[inside][disc] = (90, 40, 130)
            n_discs -= 1
    return picture


def write_slide(path: Path, picture: NDArray[np.uint8], um_per_px: float = UM_PER_PX) -> Path:
    """Write a tiled TIFF pyramid with its resolution."""
    resolution = (1e4 / um_per_px, 1e4 / um_per_px)
    with tifffile.TiffWriter(path) as tiff:
        n_levels = 1
        while max(picture.shape[:2]) >> n_levels >= 256:
            n_levels += 1
        options = {"tile": (256, 256), "photometric": "rgb", "compression": "zlib", "resolutionunit": "CENTIMETER"}
        tiff.write(picture, subifds=n_levels - 1, resolution=resolution, **options)
        for number in range(1, n_levels):
            tiff.write(picture[:: 2**number, :: 2**number], subfiletype=1, resolution=resolution, **options)
    return path


def read_nuclei_card(**changes: object) -> ModelCard:
    """Return the card of the bundled model of nuclei, changed."""
    models = ModelRegistry(Path("/nowhere"), BUNDLED_MODELS)
    return models.get_live_card("nuclei").model_copy(update=changes)


def plan_small(slide: Slide, card: ModelCard, core_px: int = 200, halo_px: int = 32) -> SlidePlan:
    """Return a plan with small chunks."""
    plan = make_plan(slide, card)
    grid = plan.manifest.grid
    chunks = ChunkGrid(grid.height, grid.width, core_px, halo_px)
    numbers = list(range(chunks.n_rows * chunks.n_columns))
    changes = {"core_px": core_px, "halo_px": halo_px, "chunk_numbers": numbers}
    return replace(plan, manifest=plan.manifest.model_copy(update=changes))


def find_discs(image: Image) -> NDArray[np.uint32]:
    """Return the dark discs of an image as numbered objects."""
    labels, _ = ndimage.label(image.pixels[..., 0] < 150)
    return labels.astype(np.uint32)


class DiscModel:
    """Predicts as `Predictor.predict` does, and counts; `spoil_px` dark pixels at the ends of a chunk are missed."""

    def __init__(self, spoil_px: int = 0) -> None:
        self.spoil_px = spoil_px
        self.n_predicted = 0
        self.sizes: list[tuple[int, ...]] = []

    def predict(self, image: Image) -> Iterator[PredictionEvent]:
        """Yield progress twice, and the result."""
        yield PredictionProgress(0, 2, "tile 0 of 2", 1.0)
        pixels = image.pixels.copy()
        for line in (pixels, np.swapaxes(pixels, 0, 1)):
            if self.spoil_px:
                line[: self.spoil_px] = line[-self.spoil_px :] = 255
        yield PredictionProgress(1, 2, "tile 1 of 2", 1.0)
        self.n_predicted += 1
        self.sizes.append(image.spatial_shape)
        yield make_result(find_discs(replace(image, pixels=pixels)))


class ClassModel(DiscModel):
    """Predicts two classes by brightness: tissue 1, dark 2."""

    def predict(self, image: Image) -> Iterator[PredictionEvent]:
        """Yield progress and the result."""
        yield PredictionProgress(0, 1, "1 slice", 1.0)
        self.n_predicted += 1
        red = image.pixels[..., 0]
        yield make_result(np.where(red < 150, 2, np.where(red < 245, 1, 0)).astype(np.uint8))


def make_result(labels: NDArray[np.uint8] | NDArray[np.uint32]) -> PredictionResult:
    """Return the result of a prediction with these labels."""
    return PredictionResult(labels, 0.1, None, 0.1, "CPU")


def reducing(card: ModelCard) -> ModelCard:
    """Return the card with a network that reduces what it is shown."""
    return card.model_copy(update={"preprocessing": Preprocessing(max_side_px=512)})
