"""A folder, a pipe, a link in a circle or 20 GB where a file of this program is expected costs what the file holds."""

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from own_families import OWN, make_project, opened

from napari_medseg.core.errors import MedSegError
from napari_medseg.workflow.cases import list_cases
from napari_medseg.workflow.review import open_review
from napari_medseg.workflow.training_set import build_snapshot

KINDS: dict[str, Callable[[Path], None]] = {
    "folder": lambda path: path.mkdir(),
    "link": lambda path: path.symlink_to(path.name),
    "20 GB": lambda path: path.touch() or os.truncate(path, 20 * 2**30),  # type: ignore[func-returns-value]
}
if hasattr(os, "mkfifo"):
    KINDS["pipe"] = os.mkfifo
FAMILIES = {family.name: family for family in OWN if family.name in ("project-files", "journal", "registry", "runs")}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pipes, and asks for a right to make links")
@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_no_usual_file_is_reported_and_not_waited_for(name: str, tmp_path: Path) -> None:
    family = FAMILIES[name]
    intact, place = tmp_path / "intact", tmp_path / "place"
    intact.mkdir()
    targets = {(path.parent, path.name.partition("-")[0]): path for path in sorted(family.make(intact))}
    for target in targets.values():  # one of each kind
        for make in KINDS.values():
            shutil.copytree(intact, place)
            (place / target).unlink()
            make(place / target)
            with contextlib.suppress(MedSegError):
                family.use(place, place / target)
            assert os.path.lexists(place / target), "what was in the place of the file was not removed"
            shutil.rmtree(place)


def test_a_project_opens_whose_strokes_cannot_be_read(tmp_path: Path) -> None:
    make_project(tmp_path)
    with opened(tmp_path) as ws:
        before = [row.state for row in list_cases(ws)]
    for path in (tmp_path / "project" / "journal").glob("*.journal"):
        path.unlink()
        path.mkdir()
    with opened(tmp_path) as ws:
        rows = list_cases(ws)
        assert [row.state for row in rows] == before
        snapshot, _ = build_snapshot(ws, "lungs")
        assert len(snapshot.items) == before.count("accepted")
        draft = next(row for row in rows if row.state == "draft")
        with pytest.raises(MedSegError, match="cannot read the strokes in"):
            open_review(ws, draft.case, draft.prediction)
