"""Which DICOM files form one image: series, orientation and phase."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

from napari_medseg.core.dicom.headers import DicomHeader
from napari_medseg.core.dicom.planes import PHASE_KEYWORDS, DicomPlane

_SAME_PLACE_MM = 0.02
_USUAL_PHASES = slice(0, 3)
PHASE = "phase"
"""What a part of an enhanced file is called."""


def group_by_series(headers: Iterable[DicomHeader]) -> list[list[DicomHeader]]:
    """Group files by patient, series and orientation, within the rounding of direction cosines.

    Each scout of a CT is an image of its own: it is in the series of its slices, but it is a projection.
    """
    by_key: dict[tuple[str, ...], list[DicomHeader]] = defaultdict(list)
    for header in headers:
        is_scout = header.modality == "CT" and header.acquisition.view == "localizer"
        by_key[(*header.series_key, str(header.path) if is_scout else "")].append(header)
    return [group for members in by_key.values() for group in _group_by_direction(members)]


def split_phases(headers: Sequence[DicomHeader]) -> dict[str, list[DicomHeader]]:
    """Split a series by phase if slices of several phases have the same positions; the keys are titles of the phases.

    The first attribute that tells the phases apart decides; if none does, the usual ones together.
    """
    distinct = {header.instance or str(header.path): header.planes[0] for header in headers}
    if not _repeats_a_place(list(distinct.values())):
        return {"": list(headers)}
    index = _find_phase_attribute(list(distinct.values()))
    if index is not None:
        return _group_by(headers, lambda header: header.planes[0].phase[index])
    return _group_by(headers, lambda header: " ".join(filter(None, header.planes[0].phase[_USUAL_PHASES])))


def split_frames(header: DicomHeader) -> list[DicomHeader]:
    """Split the frames of an enhanced file by orientation, and by phase where frames have the same position.

    Returns
    -------
    list of DicomHeader
        One for each part, with its planes and its title; the header itself if there is one part.
    """
    if any(plane.position is None for plane in header.planes):
        return [header]  # a film of a plane, or a damaged file, which the reader refuses
    by_direction: list[list[DicomPlane]] = []
    for plane in header.planes:
        alike = (group for group in by_direction if group[0].has_same_directions(plane))
        if (group := next(alike, None)) is None:
            by_direction.append([plane])
        else:
            group.append(plane)
    parts = [
        (" ".join(filter(None, (f"orientation {n}" if len(by_direction) > 1 else "", title))), planes)
        for n, group in enumerate(by_direction, start=1)
        for title, planes in _split_planes(group)
    ]
    if len(parts) == 1:
        return [header]
    return [replace(header, planes=tuple(planes), part=title) for title, planes in parts]


def _split_planes(planes: list[DicomPlane]) -> list[tuple[str, list[DicomPlane]]]:
    """Return the planes of each phase, with its title."""
    if not _repeats_a_place(planes):
        return [("", planes)]
    index = _find_phase_attribute(planes)
    if index is None:
        return [("", planes)]
    groups: dict[str, list[DicomPlane]] = defaultdict(list)
    for plane in planes:
        groups[plane.phase[index]].append(plane)
    return [(f"phase {value}", members) for value, members in groups.items()]


def _find_phase_attribute(planes: Sequence[DicomPlane]) -> int | None:
    """Return the index in `PHASE_KEYWORDS` of the first attribute that tells phases apart; `None` if none does.

    Phases that are complete, each with as many slices as the others, are preferred.
    """
    candidates = []
    for index, _ in enumerate(PHASE_KEYWORDS):
        groups: dict[str, list[DicomPlane]] = defaultdict(list)
        for plane in planes:
            groups[plane.phase[index]].append(plane)
        if len(groups) > 1 and not any(map(_repeats_a_place, groups.values())):
            if len({len(group) for group in groups.values()}) == 1:
                return index
            candidates.append(index)
    return candidates[0] if candidates else None


def _group_by_direction(headers: Sequence[DicomHeader]) -> list[list[DicomHeader]]:
    groups: list[list[DicomHeader]] = []
    for header in headers:
        alike = (group for group in groups if group[0].planes[0].has_same_directions(header.planes[0]))
        if (group := next(alike, None)) is None:
            groups.append([header])
        else:
            group.append(header)
    return groups


def _group_by(headers: Sequence[DicomHeader], get_title: Callable[[DicomHeader], str]) -> dict[str, list[DicomHeader]]:
    groups: dict[str, list[DicomHeader]] = defaultdict(list)
    for header in headers:
        groups[get_title(header)].append(header)
    return dict(groups)


def _repeats_a_place(planes: Sequence[DicomPlane]) -> bool:
    """Whether two planes have the same position, to a fiftieth of a millimetre along the normal."""
    first = planes[0]
    if first.position is None:
        return False
    places = sorted(float(plane.position @ first.normal) for plane in planes if plane.position is not None)
    return any(after - before < _SAME_PLACE_MM for before, after in pairwise(places))
