"""The voxel size of a TIFF file: OME, ImageJ, the description of Aperio slides, or the resolution tags."""

import re
from typing import Any

import tifffile

_MM_PER_UNIT = {
    "m": 1e3,
    "cm": 10.0,
    "centimeter": 10.0,
    "mm": 1.0,
    "millimeter": 1.0,
    "µm": 1e-3,
    "μm": 1e-3,
    "\\u00b5m": 1e-3,
    "um": 1e-3,
    "micron": 1e-3,
    "microns": 1e-3,
    "micrometer": 1e-3,
    "micrometre": 1e-3,
    "nm": 1e-6,
    "nanometer": 1e-6,
    "meter": 1e3,
    "inch": 25.4,
}
_MM_PER_RESOLUTION_UNIT = {2: 25.4, 3: 10.0}
# Printer resolutions (dots per inch) that programs write by default, by the unit of the file (inch, cm); they are not
# the pixel size of the image. In centimetres only the commonest, as scientific programs use that unit.
_PRINT_DPI = {2: (72, 75, 96, 100, 120, 150, 200, 240, 300, 350, 400, 600, 1200), 3: (72, 96, 300)}
_DPI_TOLERANCE = 0.02
# Aperio writes micrometres per pixel into the description, between AppMag and the scanner's name.
_MICROMETRES_PER_PIXEL = re.compile(r"\bMPP\s*=\s*(\d+(?:[.,]\d+)?)")


def get_unit_mm(unit: str) -> float | None:
    """Return the millimetres of a unit of length such as ``"micrometer"``; `None` for another one."""
    return _MM_PER_UNIT.get(unit.strip().lower())


def read_spacing_zyx(tiff: tifffile.TiffFile, page: tifffile.TiffPage) -> tuple[float | None, ...]:
    """Return millimetres along (z, rows, columns) of the stored pixels; `None` for an axis without a spacing."""
    if tiff.is_ome and tiff.ome_metadata:
        return _parse_ome_spacing(tiff.ome_metadata)
    per_unit = [_read_ratio(page.tags.get(tag)) for tag in ("YResolution", "XResolution")]
    if tiff.imagej_metadata:
        return _read_imagej_spacing(tiff.imagej_metadata, per_unit)
    if slide := _MICROMETRES_PER_PIXEL.search(page.description):
        mm = float(slide[1].replace(",", ".")) / 1000
        return (None, mm, mm) if mm > 0 else (None, None, None)
    return _convert_resolution(page, per_unit)


def _read_imagej_spacing(metadata: dict[str, Any], per_unit: list[float | None]) -> tuple[float | None, ...]:
    """ImageJ: one unit for all axes, unless an axis has its own."""
    z_mm, y_mm, x_mm = (
        _MM_PER_UNIT.get(str(metadata.get(key, metadata.get("unit", ""))).strip().lower())
        for key in ("zunit", "yunit", "unit")
    )
    plane = [None if mm is None or not value else mm / value for mm, value in zip((y_mm, x_mm), per_unit, strict=True)]
    z = metadata.get("spacing")
    return (None if z_mm is None or not z else abs(float(z)) * z_mm, *plane)


def _convert_resolution(page: tifffile.TiffPage, per_unit: list[float | None]) -> tuple[float | None, ...]:
    unit = int(page.tags.valueof("ResolutionUnit", default=0))
    values = [value for value in per_unit if value]
    if unit not in _MM_PER_RESOLUTION_UNIT or len(values) < len(per_unit) or _is_print_resolution(values, unit):
        return (None, None, None)
    return (None, *[_MM_PER_RESOLUTION_UNIT[unit] / value for value in values])


def _is_print_resolution(values: list[float], unit: int) -> bool:
    """Whether a resolution is that of a printer, or the placeholder 1."""
    per_inch = [value * 25.4 / _MM_PER_RESOLUTION_UNIT[unit] for value in values]
    is_print = all(any(abs(dpi - known) < _DPI_TOLERANCE for known in _PRINT_DPI[unit]) for dpi in per_inch)
    return is_print or all(value == 1 for value in values)


def _parse_ome_spacing(xml: str) -> tuple[float | None, ...]:
    images = tifffile.xml2dict(xml)["OME"]["Image"]
    pixels = (images[0] if isinstance(images, list) else images)["Pixels"]
    spacing: list[float | None] = []
    for axis in "ZYX":
        size = pixels.get(f"PhysicalSize{axis}")
        mm = _MM_PER_UNIT.get(str(pixels.get(f"PhysicalSize{axis}Unit", "µm")).strip().lower())
        spacing.append(float(size) * mm if size is not None and mm is not None and float(size) > 0 else None)
    return tuple(spacing)


def _read_ratio(tag: tifffile.TiffTag | None) -> float | None:
    if tag is None:
        return None
    numerator, denominator = tag.value
    return float(numerator) / float(denominator) if numerator and denominator else None
