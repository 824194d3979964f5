"""How many objects a square millimetre holds, and which area each class covers: totals, and a map of a slide."""

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_medseg.core.atomic_io import atomic_write
from napari_medseg.workflow.whole_slide.grid import UM_PER_MM
from napari_medseg.workflow.whole_slide.prediction import WholeSlide

CELL_UM = 250.0
"""Side of a cell of the map: some hundred nuclei of tissue lie in one."""
CELL_PX = 1000
"""Side of a cell on a slide that does not say its resolution."""
MAP_FILE = "density.tif"
TABLE_FILE = "density.csv"
CM_IN_UM = 1e4


@dataclass(frozen=True, eq=False)
class DensityMap:
    """Counts and areas in square cells of a slide.

    Parameters
    ----------
    cell_px
        Side of a cell in pixels of the grid.
    downsample
        Pixels of level 0 per pixel of the grid.
    um_per_px
        Micrometres per pixel of the grid; `None` if unknown: then areas are in pixels, and densities per megapixel.
    predicted
        float64 (rows, columns): predicted area of each cell, in mm² (or megapixels).
    counts
        int64 (rows, columns): objects whose centre lies in the cell.
    areas
        float64 (classes, rows, columns): area that each class covers, in mm² (or megapixels).
    classes
        Names of the classes.
    """

    cell_px: int
    downsample: float
    um_per_px: float | None
    predicted: NDArray[np.float64]
    counts: NDArray[np.int64]
    areas: NDArray[np.float64]
    classes: tuple[str, ...]

    @property
    def unit(self) -> str:
        """Unit of the areas."""
        return "megapixels" if self.um_per_px is None else "mm2"

    @property
    def density(self) -> NDArray[np.float32]:
        """Objects per unit of predicted area, or for a task of classes the share that all classes cover; 0 outside.

        float32 (rows, columns).
        """
        amount = self.counts if self.counts.any() else self.areas.sum(axis=0)
        result = np.zeros(self.predicted.shape, np.float32)
        np.divide(amount, self.predicted, out=result, where=self.predicted > 0, casting="unsafe")
        return result

    @property
    def text(self) -> str:
        """Totals in one line."""
        whole, n_objects = float(self.predicted.sum()), int(self.counts.sum())
        unit = "mm²" if self.um_per_px is not None else "megapixels"
        parts = [f"{whole:,.2f} {unit} predicted"]
        if n_objects and whole:
            counted = f"{n_objects:,} object{'s' * (n_objects != 1)}"
            parts.append(f"{counted}, {n_objects / whole:,.0f} per {unit.removesuffix('s')}")
        parts += [
            f"{name} {float(area.sum()):,.3f} {unit}" for name, area in zip(self.classes, self.areas, strict=True)
        ]
        return "; ".join(parts)


def compute_density(
    whole: WholeSlide, cell_um: float = CELL_UM, is_cancelled: Callable[[], bool] = lambda: False
) -> DensityMap:
    """Count objects and areas in the cells of a slide, chunk by chunk.

    Parameters
    ----------
    whole
        A prediction, which may be unfinished.
    cell_um
        Side of a cell in micrometres.
    is_cancelled
        Asked after each chunk; then the rest is left out.
    """
    grid, task = whole.manifest.grid, whole.manifest.definition
    cell = CELL_PX if grid.um_per_px is None else max(1, round(cell_um / grid.um_per_px))
    shape = (-(-grid.height // cell), -(-grid.width // cell))
    pixel = 1e-6 if grid.pixel_area_mm2 is None else grid.pixel_area_mm2
    predicted, counts = np.zeros(shape), np.zeros(shape, np.int64)
    areas = np.zeros((len(task.labels), *shape))
    for number in whole.table.list_chunks("done"):
        if is_cancelled():
            break
        rows, columns = whole.manifest.chunks.get_core(number)
        for place, part in _split(rows, columns, cell):
            predicted[place] += (part[0].stop - part[0].start) * (part[1].stop - part[1].start) * pixel
        if task.instances:
            _count_objects(whole, number, cell, counts, areas[0], pixel)
        else:
            labels = whole.labels.read((rows, columns))
            for place, part in _split(rows, columns, cell):
                inside = labels[
                    part[0].start - rows.start : part[0].stop - rows.start,
                    part[1].start - columns.start : part[1].stop - columns.start,
                ]
                sizes = np.bincount(inside.ravel(), minlength=task.n_classes)
                areas[(slice(None), *place)] += [sizes[label.value] * pixel for label in task.labels]
    names = tuple(label.name for label in task.labels)
    return DensityMap(cell, grid.downsample, grid.um_per_px, predicted, counts, areas, names)


def write_density(density: DensityMap, folder: Path) -> list[Path]:
    """Write the map as a TIFF with its resolution, and all figures of its cells as CSV; return the files.

    The TIFF has one float32 page: objects per mm². In the CSV, x and y are the upper left corner of a cell in pixels of
    level 0.

    Raises
    ------
    MedSegError
        If they cannot be written.
    """
    um = (density.um_per_px or 1.0) * density.cell_px
    with atomic_write(folder / MAP_FILE) as path:
        resolution = (CM_IN_UM / um, CM_IN_UM / um)
        tifffile.imwrite(path, density.density, resolution=resolution, resolutionunit="CENTIMETER")
    unit = density.unit
    header = ["x", "y", "side", f"predicted_{unit}", "objects", f"objects_per_{unit}"]
    header += [f"{name}_{unit}" for name in density.classes]
    side = density.cell_px * density.downsample
    with atomic_write(folder / TABLE_FILE) as path, path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(header)
        for row, column in np.argwhere(density.predicted > 0).tolist():
            count, area = int(density.counts[row, column]), float(density.predicted[row, column])
            covered = [f"{value:.6g}" for value in density.areas[:, row, column]]
            place = [round(column * side), round(row * side), round(side)]
            table.writerow([*place, f"{area:.6g}", count, f"{count / area:.6g}", *covered])
    return [folder / MAP_FILE, folder / TABLE_FILE]


def get_cell_mm(density: DensityMap) -> float | None:
    """Return the side of a cell in millimetres."""
    return None if density.um_per_px is None else density.um_per_px * density.cell_px / UM_PER_MM


def _count_objects(
    whole: WholeSlide, number: int, cell: int, counts: NDArray[np.int64], areas: NDArray[np.float64], pixel: float
) -> None:
    records = whole.table.list_objects_of(number)
    if records:
        rows = np.clip(np.array([record.y for record in records]) // cell, 0, counts.shape[0] - 1).astype(int)
        columns = np.clip(np.array([record.x for record in records]) // cell, 0, counts.shape[1] - 1).astype(int)
        np.add.at(counts, (rows, columns), 1)
        np.add.at(areas, (rows, columns), np.array([record.area_px for record in records]) * pixel)


def _split(rows: slice, columns: slice, cell: int) -> Iterator[tuple[tuple[int, int], tuple[slice, slice]]]:
    """Yield the cells that a part lies in, each with what of the part lies in it."""
    for row in range(rows.start // cell, -(-rows.stop // cell)):
        for column in range(columns.start // cell, -(-columns.stop // cell)):
            yield (
                (row, column),
                (
                    slice(max(rows.start, row * cell), min(rows.stop, (row + 1) * cell)),
                    slice(max(columns.start, column * cell), min(columns.stop, (column + 1) * cell)),
                ),
            )
