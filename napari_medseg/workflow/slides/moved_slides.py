"""Fields of a slide that was moved: they follow it when it is opened at its new place, if it is the same slide."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from napari_medseg.core.containers.addresses import find_address, format_source
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.records import Case
from napari_medseg.core.slides.fields import Field, find_place, place_of, read_field
from napari_medseg.core.slides.open_slide import open_slide
from napari_medseg.core.slides.slide import Slide
from napari_medseg.workflow.workspace import Workspace

N_COMPARED = 3
"""So many fields have to show the same pixels; one could lie on empty glass."""


@dataclass(frozen=True)
class MovedField:
    """A case whose slide is missing, and the field that it would be on another slide."""

    case: Case
    field: Field


def find_moved_fields(ws: Workspace, slide: Path) -> list[MovedField]:
    """Return the fields of slides that have the name of this one, and are no longer where they were."""
    moved = []
    for case_id, sources in ws.project.identities.find_sources(slide.name).items():
        place = find_place(sources)
        if place is None or place.slide == slide or place.slide.name != slide.name or _is_there(place.slide):
            continue
        moved.append(MovedField(ws.project.get_record(Case, case_id), replace(place, slide=slide)))
    return moved


def compare_moved_fields(slide: Path, moved: Sequence[MovedField]) -> Generator[list[MovedField]]:
    """Yield the fields of each missing slide that is this one: some of them have the same pixels as before.

    Slides of one name may be missing from several folders; each is compared by itself. It may run in a thread.
    """
    if not moved:
        return
    opened = open_slide(slide)
    try:
        for _, group in groupby(sorted(moved, key=_get_old_slide), key=_get_old_slide):
            of_one = list(group)
            if all(_is_same(each, opened) for each in of_one[:: max(1, len(of_one) // N_COMPARED)]):
                yield of_one
    finally:
        opened.close()


def move_fields(ws: Workspace, moved: Sequence[MovedField]) -> None:
    """Write that these cases are fields of the slide at its new place."""
    ws.project.identities.move_sources({each.case.id: (format_source(each.field.path),) for each in moved})


def _get_old_slide(moved: MovedField) -> Path:
    place = place_of(moved.case)
    return moved.field.slide if place is None else place.slide


def _is_there(slide: Path) -> bool:
    return find_address(slide) is not None or slide.exists()


def _is_same(moved: MovedField, opened: Slide) -> bool:
    try:
        image = read_field(moved.field, opened)
    except MedSegError:
        return False
    return image.content_hash == moved.case.content_hash
