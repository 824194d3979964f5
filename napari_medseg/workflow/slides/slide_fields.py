"""Fields of slides as cases: which a project has, new ones, and slides that were moved."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_medseg.core.errors import MedSegError, translate_errors
from napari_medseg.core.image import Image
from napari_medseg.core.slides.fields import PART_OF_EVERY_PATH, Field, find_place, read_field
from napari_medseg.core.slides.open_slide import open_slide
from napari_medseg.workflow import cases
from napari_medseg.workflow.cases import CaseRow
from napari_medseg.workflow.workspace import Workspace


@dataclass(frozen=True)
class SlideField:
    """A field of a slide and its case, with its state."""

    field: Field
    row: CaseRow


@dataclass(frozen=True)
class FieldFailure:
    """A field that cannot be read, and why."""

    field: Field
    text: str


def list_slide_fields(
    ws: Workspace, slide: Path, find_row: Callable[[int], CaseRow | None] = lambda _case_id: None
) -> list[SlideField]:
    """Return the listed cases, of any task, that are fields of a slide, in the order of import.

    `find_row` returns the row of a case that the window has read already: reading a thousand takes 0.2 s.
    """
    removed = ws.project.read_removed_case_ids()
    places = {
        case_id: place
        for case_id, sources in ws.project.identities.find_sources(slide.name).items()
        if case_id not in removed and (place := find_place(sources)) is not None and place.slide == slide
    }
    return [
        SlideField(place, find_row(case_id) or cases.read_case_row(ws, case_id)) for case_id, place in places.items()
    ]


def list_project_slides(ws: Workspace) -> list[Path]:
    """Return the slides of which the project has fields, by name."""
    removed = ws.project.read_removed_case_ids()
    found = ws.project.identities.find_sources(PART_OF_EVERY_PATH)
    places = (find_place(sources) for case_id, sources in found.items() if case_id not in removed)
    return sorted({place.slide for place in places if place is not None}, key=lambda path: (path.name, path))


def read_fields(fields: Sequence[Field]) -> Generator[Image | FieldFailure]:
    """Read fields of one slide, which is opened once; it may run in a thread.

    A field that cannot be read is a `FieldFailure`; the others are still read.

    Raises
    ------
    MedSegError
        If the slide cannot be opened.
    """
    if not fields:
        return
    slide = open_slide(fields[0].slide)
    try:
        for field in fields:
            try:
                with translate_errors():
                    image = read_field(field, slide)
                    _ = image.content_hash  # computed here, so that the window does not wait for it
            except MedSegError as error:
                yield FieldFailure(field, str(error))
            else:
                yield image
    finally:
        slide.close()
