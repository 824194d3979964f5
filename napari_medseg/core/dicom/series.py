"""Which DICOM files form one image: series, orientation and phase."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

from napari_medseg.core.dicom.headers import DicomHeader
from napari_medseg.core.dicom.planes import PHASE_KEYWORDS

_SAME_PLACE_MM = 0.02
_USUAL_PHASES = slice(0, 3)


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
    if not _repeats_a_place(headers):
        return {"": list(headers)}
    for index, _ in enumerate(PHASE_KEYWORDS):
        groups = _group_by(headers, lambda header, index=index: header.planes[0].phase[index])  # type: ignore[misc]
        if len(groups) > 1 and not any(map(_repeats_a_place, groups.values())):
            return groups
    return _group_by(headers, lambda header: " ".join(filter(None, header.planes[0].phase[_USUAL_PHASES])))


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


def _repeats_a_place(headers: Sequence[DicomHeader]) -> bool:
    """Whether two different instances have the same position, to a fiftieth of a millimetre along the normal."""
    planes = {header.instance or str(header.path): header.planes[0] for header in headers}
    first = next(iter(planes.values()))
    if first.position is None:
        return False
    places = sorted(float(plane.position @ first.normal) for plane in planes.values() if plane.position is not None)
    return any(after - before < _SAME_PLACE_MM for before, after in pairwise(places))
