"""Whatever is wrong with a file of ours becomes one readable error."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.json_model import MAX_ERRORS_LISTED, read_json_model
from napari_medseg.core.model_card import read_card
from napari_medseg.core.project.review_region import read_draft_region
from napari_medseg.core.replay import REPLAY_IMAGES_FILE, read_replay_images
from napari_medseg.core.snapshot import read_snapshot
from napari_medseg.core.tasks.catalog import read_task


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    sizes: list[int] = []


def read(path: Path) -> Settings:
    return read_json_model(path, Settings, "is no list of settings", "Write it again.")


def test_a_sound_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"name": "Grüße", "sizes": [1, 2]}', encoding="utf-8")
    assert read(tmp_path / "a.json") == Settings(name="Grüße", sizes=[1, 2])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file or directory"),
        (b"", "Invalid JSON"),
        (b"{", "Invalid JSON"),
        (b'{"name": "a\xff"}', "Invalid JSON"),
        (b'{"nam": "a"}', r"name: Field required; nam: Extra inputs are not permitted"),
        (b'{"name": "a", "sizes": [1, "x"]}', r"sizes\.1: Input should be a valid integer"),
    ],
)
def test_what_is_wrong_is_named_with_the_file_and_what_to_do(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    if content is not None:
        (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(MedSegError, match=rf"a\.json is no list of settings: {reason}.*\. Write it again\.$"):
        read(tmp_path / "a.json")


def test_a_folder_in_place_of_a_file_is_readable(tmp_path: Path) -> None:
    with pytest.raises(MedSegError, match=r"is no list of settings: .*Write it again"):
        read(tmp_path)


def test_a_thousand_errors_make_no_endless_message(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"name": "a", "sizes": [' + ", ".join(["null"] * 1000) + "]}")
    with pytest.raises(MedSegError, match=f"and {1000 - MAX_ERRORS_LISTED} more") as failure:
        read(tmp_path / "a.json")
    assert len(str(failure.value)) < 100 * MAX_ERRORS_LISTED


@pytest.mark.parametrize(
    ("name", "reader"),
    [
        ("card.json", lambda folder: read_card(folder / "card.json")),
        ("snapshot.json", lambda folder: read_snapshot(folder / "snapshot.json")),
        ("larynx.json", lambda folder: read_task(folder / "larynx.json")),
        (REPLAY_IMAGES_FILE, read_replay_images),
    ],
)
def test_a_file_of_ours_that_is_no_utf_8_is_named(tmp_path: Path, name: str, reader: Callable[[Path], object]) -> None:
    (tmp_path / name).write_bytes(b'{"name": "\xff\xfe"}')
    with pytest.raises(MedSegError, match=name.replace(".", r"\.")):
        reader(tmp_path)


def test_a_damaged_area_of_a_draft_is_set_aside_and_the_draft_opens(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "1.area.json"
    for number, damage in enumerate((b'{"name": "\xff\xfe"}', b"", b"\0\0"), start=1):
        path.write_bytes(damage)
        assert read_draft_region(path) is None
        assert not path.exists()
        assert (tmp_path / f"1.area.json.damaged-{number}").read_bytes() == damage
        assert f"1.area.json.damaged-{number}" in caplog.records[-1].message
    assert "Draw the area again before you accept" in caplog.text
