"""`live.json`: a damaged file is set aside, one of a later version of the program is kept and never replaced."""

import json
import logging
from pathlib import Path

import pytest

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.promotions.live_file import LiveChange, append_live_change, find_later_parts, read_live_file

CHANGE = {"action": "promote", "model": "lungs-unet@2", "at": "2031-01-01"}
PROMOTED = LiveChange(action="promote", model="lungs-unet@3", at="2031-01-02")


def write(path: Path, content: object) -> bytes:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path.read_bytes()


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ({"tasks": {"lungs": [CHANGE]}, "format": 2}, "'format'"),
        ({"tasks": {"lungs": [CHANGE | {"by": "reader 1"}]}}, "'by'"),
        ({"tasks": {"lungs": [CHANGE, CHANGE | {"action": "retire", "model": "lungs-unet@1"}]}}, "'retire'"),
        ({"tasks": {"lungs": [CHANGE | {"hospital": {"site": 3}}]}, "sites": ["a"]}, "'hospital', 'sites'"),
    ],
)
def test_a_file_of_a_later_version_is_read_as_far_as_it_is_known_and_kept(
    tmp_path: Path, content: object, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "live.json"
    before = write(path, content)
    with caplog.at_level(logging.WARNING):
        assert [change.model for change in read_live_file(path).tasks["lungs"]] == ["lungs-unet@2"]
    assert f"written by a later version of napari-medseg: this one does not know {name}" in caplog.text
    with pytest.raises(MedSegError, match=r"later version.*Update napari-medseg\. Nothing was promoted"):
        append_live_change(path, "lungs", PROMOTED)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["live.json"]


@pytest.mark.parametrize(
    "content",
    [
        {"tasks": {"lungs": [CHANGE | {"model": 3}]}, "format": 2},
        {"tasks": {"lungs": [{"action": "promote", "modem": "lungs-unet@2", "at": ""}]}},
        {"tasks": {"lungs": [CHANGE | {"reasom": "x"}]}},
        {"tasks": {"lungs": [CHANGE | {"action": "promotf"}]}},
        {"tasks": {"lungs": [CHANGE]}, "\u0001x": 1},
        {"tasks": [], "format": 2},
        [CHANGE],
    ],
)
def test_damage_is_no_later_version(tmp_path: Path, content: object) -> None:
    path = tmp_path / "live.json"
    before = write(path, content)
    assert find_later_parts(path) is None
    assert read_live_file(path).tasks == {}
    append_live_change(path, "lungs", PROMOTED)
    assert read_live_file(path).tasks == {"lungs": (PROMOTED,)}
    assert path.with_name("live.json.damaged-1").read_bytes() == before
