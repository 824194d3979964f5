"""The versions of the models: immutable, numbered, and one of them live."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from napari_medseg.core import model_card
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import (
    DOMAIN_FILE,
    WORST_CASE_FILE,
    Architecture,
    DomainCheck,
    ModelCard,
    Preprocessing,
    RegionOfInterest,
    read_card,
    write_card,
)
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.core.project import file_state


def make_version(folder: Path, version: int = 1, weights: bytes = b"weights", name: str = "lungs-unet") -> Path:
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(weights)
    card = ModelCard(
        name=name,
        version=version,
        task="lungs",
        architecture=Architecture(name="Unet", in_channels=1, classes=3),
        preprocessing=Preprocessing(),
        weights_sha256=hashlib.sha256(weights).hexdigest(),
    )
    write_card(card, folder / "card.json")
    return folder


@pytest.fixture
def registry(tmp_path: Path) -> ModelRegistry:
    make_version(tmp_path / "bundled" / "lungs-unet" / "1")
    return ModelRegistry(tmp_path / "user", tmp_path / "bundled")


def test_bundled_version_is_live_without_an_entry(registry: ModelRegistry) -> None:
    assert registry.get_live_card("lungs").id == "lungs-unet@1"
    assert registry.get_folder("lungs-unet@1") == registry.bundled_dir / "lungs-unet" / "1"
    assert not registry.user_dir.exists(), "looking writes nothing"


def test_add_gives_the_next_number_and_changes_nothing_live(registry: ModelRegistry, tmp_path: Path) -> None:
    candidate = make_version(tmp_path / "run", weights=b"better")
    assert registry.add(candidate).id == "lungs-unet@2"
    assert registry.add(candidate).id == "lungs-unet@3"
    assert [card.id for card in registry.list_versions("lungs")] == ["lungs-unet@3", "lungs-unet@2", "lungs-unet@1"]
    assert registry.get_live_card("lungs").id == "lungs-unet@1"
    assert (registry.get_folder("lungs-unet@2") / "model.safetensors").read_bytes() == b"better"
    assert read_card(candidate / "card.json").version == 1, "the candidate itself stays as it was"


def test_a_kept_version_outlives_an_update_of_the_program(registry: ModelRegistry, tmp_path: Path) -> None:
    old = registry.get_folder("lungs-unet@1")
    kept = registry.keep_copy("lungs-unet@1")
    assert kept == registry.keep_copy("lungs-unet@1") == registry.user_dir / "lungs-unet" / "1"
    assert registry.get_folder("lungs-unet@1") == old, "the program still brings it"
    assert registry.get_live_id("lungs") == "lungs-unet@1"
    with pytest.raises(MedSegError, match="no earlier one"):
        registry.roll_back("lungs")
    shutil.rmtree(old)
    make_version(tmp_path / "bundled" / "lungs-unet" / "4", version=4, weights=b"of the update")
    assert registry.get_live_id("lungs") == "lungs-unet@4", "nobody had chosen the old one"
    assert registry.get_folder("lungs-unet@1") == kept
    assert (kept / "model.safetensors").read_bytes() == b"weights"


def test_what_a_person_made_live_stays_live_after_an_update(registry: ModelRegistry, tmp_path: Path) -> None:
    own = registry.add(make_version(tmp_path / "run", weights=b"own"))
    registry.promote(own.id)
    registry.promote("lungs-unet@1")
    shutil.rmtree(registry.get_folder("lungs-unet@1"))
    make_version(tmp_path / "bundled" / "lungs-unet" / "4", version=4, weights=b"of the update")
    assert registry.get_live_id("lungs") == "lungs-unet@1"
    assert registry.roll_back("lungs").id == own.id
    assert registry.roll_back("lungs").id == "lungs-unet@4"


def test_an_own_version_hides_a_bundled_one_of_its_number_and_says_so(
    registry: ModelRegistry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = registry.add(make_version(tmp_path / "run", weights=b"own"))
    bundled = make_version(tmp_path / "bundled" / "lungs-unet" / "2", version=2, weights=b"of the update")
    assert own.id == "lungs-unet@2"
    for _ in range(3):
        assert registry.get_folder("lungs-unet@2") == registry.user_dir / "lungs-unet" / "2"
    (record,) = caplog.records
    assert f"medseg models add {bundled}" in record.message
    assert registry.add(bundled).id == "lungs-unet@3"


def test_the_statistics_of_the_training_images_go_with_a_version(
    registry: ModelRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(model_card, "sync_file", lambda path: synced.append(path.name))
    candidate = make_version(tmp_path / "run", weights=b"better")
    (candidate / WORST_CASE_FILE).write_bytes(b"figure")
    (candidate / DOMAIN_FILE).write_bytes(b"statistics")
    added = registry.add(candidate)
    folder = registry.get_folder(added.id)
    assert (folder / DOMAIN_FILE).read_bytes() == b"statistics"
    assert {path.name for path in folder.iterdir()} <= {*synced}, "all of a version is on the disk before it is named"


@pytest.mark.parametrize(("statistics", "problem"), [(b"other", "do not match"), (None, "has no")])
def test_statistics_that_are_not_the_cards_are_refused(
    registry: ModelRegistry, tmp_path: Path, statistics: bytes | None, problem: str
) -> None:
    candidate = make_version(tmp_path / "run", weights=b"better")
    card = read_card(candidate / "card.json")
    check = DomainCheck(statistics_sha256=hashlib.sha256(b"statistics").hexdigest())
    write_card(card.model_copy(update={"domain": check}), candidate / "card.json")
    if statistics is not None:
        (candidate / DOMAIN_FILE).write_bytes(statistics)
    with pytest.raises(MedSegError, match=problem):
        registry.add(candidate)
    assert [one.id for one in registry.list_versions("lungs")] == ["lungs-unet@1"]
    (candidate / DOMAIN_FILE).write_bytes(b"statistics")
    assert registry.add(candidate).id == "lungs-unet@2"


def test_promote_and_roll_back_walk_through_history(registry: ModelRegistry, tmp_path: Path) -> None:
    for number in (2, 3):
        registry.add(make_version(tmp_path / f"run{number}", weights=b"%d" % number))
    registry.promote("lungs-unet@2")
    registry.promote("lungs-unet@3", reason="sharper at the base")
    registry.promote("lungs-unet@3")
    again = ModelRegistry(registry.user_dir, registry.bundled_dir)
    assert again.get_live_card("lungs").id == "lungs-unet@3"
    assert again.get_card("lungs-unet@3").lineage.promotion_reason == "sharper at the base"
    assert again.roll_back("lungs").id == "lungs-unet@2"
    assert again.roll_back("lungs").id == "lungs-unet@1"
    with pytest.raises(MedSegError, match="no earlier one"):
        again.roll_back("lungs")
    assert [change.action for change in again.read_history("lungs")] == ["promote", "promote", "roll_back", "roll_back"]


def test_reason_goes_on_the_card_that_is_written(registry: ModelRegistry, tmp_path: Path) -> None:
    card = registry.add(make_version(tmp_path / "run"), reason="needed for X-rays")
    assert read_card(registry.get_folder(card.id) / "card.json").lineage.promotion_reason == "needed for X-rays"


def test_weights_that_are_not_the_cards_are_refused(registry: ModelRegistry, tmp_path: Path) -> None:
    candidate = make_version(tmp_path / "run")
    (candidate / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(MedSegError, match="do not match the card"):
        registry.add(candidate)
    (candidate / "model.safetensors").unlink()
    with pytest.raises(MedSegError, match=r"has no model\.safetensors"):
        registry.add(candidate)
    assert [card.id for card in registry.list_versions()] == ["lungs-unet@1"]
    assert not list(registry.user_dir.glob("*/*"))


ADD_AND_PROMOTE = """
import sys
from pathlib import Path
from napari_medseg.core.model_registry import ModelRegistry
user, bundled, candidate = map(Path, sys.argv[1:])
print("ready", flush=True)
sys.stdin.readline()
for number in range(20):
    registry = ModelRegistry(user, bundled)
    registry.promote(registry.add(candidate).id, f"{candidate.name} {number}")
"""


def test_two_processes_lose_neither_a_version_nor_a_promotion(registry: ModelRegistry, tmp_path: Path) -> None:
    processes = []
    for name in ("a", "b"):
        folders = (registry.user_dir, registry.bundled_dir, make_version(tmp_path / name, weights=name.encode()))
        command = [sys.executable, "-c", ADD_AND_PROMOTE, *map(str, folders)]
        processes.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.communicate("go\n", timeout=120)
    assert [process.returncode for process in processes] == [0, 0]
    history = registry.read_history("lungs")
    assert sorted(change.reason for change in history) == sorted(f"{name} {n}" for name in "ab" for n in range(20))
    assert sorted(card.version for card in registry.list_versions("lungs")) == list(range(1, 42))
    assert {path.name for path in registry.user_dir.iterdir()} == {".lock", "live.json", "lungs-unet"}


def test_unfinished_files_of_a_killed_process_are_removed(registry: ModelRegistry, tmp_path: Path) -> None:
    registry.user_dir.mkdir()
    (registry.user_dir / ".writing-0123abcd-live.json").touch()
    (registry.user_dir / ".0123abcd").mkdir()
    (registry.user_dir / ".0123abcd" / "model.safetensors").touch()
    registry.add(make_version(tmp_path / "run"))
    assert {path.name for path in registry.user_dir.iterdir()} == {".lock", "lungs-unet"}


def test_unknown_version_lists_the_choices(registry: ModelRegistry) -> None:
    with pytest.raises(MedSegError, match=r"no model 'lungs-unet@9'; choose one of \['lungs-unet@1'\]"):
        registry.promote("lungs-unet@9")
    with pytest.raises(MedSegError, match="the task 'nuclei' has no live model"):
        registry.get_live_card("nuclei")


def test_damaged_version_is_left_out_and_the_live_one_falls_back(registry: ModelRegistry, tmp_path: Path) -> None:
    card = registry.add(make_version(tmp_path / "run"))
    registry.promote(card.id)
    (registry.get_folder(card.id) / "card.json").write_text("{", encoding="utf-8")
    assert registry.get_live_card("lungs").id == "lungs-unet@1"
    assert registry.add(make_version(tmp_path / "run2")).version == 3, "a number is never given twice"


DAMAGED_JSON = (b"", b"\0" * 64, b"{", b'{"tasks": {"lungs": 3}}', b'{"tasks": {"l\xffngs": []}}', b"[" * 100_000)


@pytest.mark.parametrize("damage", DAMAGED_JSON)
def test_a_damaged_live_file_costs_the_promotions_only(
    registry: ModelRegistry, tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    card = registry.add(make_version(tmp_path / "run"))
    registry.promote(card.id)
    live = registry.user_dir / "live.json"
    live.write_bytes(damage)
    for _ in range(70):
        assert registry.get_live_id("lungs") == "lungs-unet@1"
        assert len(registry.list_versions("lungs")) == 2
        assert registry.read_history("lungs") == ()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "live.json cannot be read, so it is not known which model is live" in caplog.text
    assert live.read_bytes() == damage, "looking changes nothing"
    registry.promote(card.id)
    live.write_bytes(b"damaged again")
    registry.promote(card.id)
    assert registry.get_live_id("lungs") == card.id
    kept = [live.with_name(f"live.json.damaged-{number}").read_bytes() for number in (1, 2)]
    assert kept == [damage, b"damaged again"], "what was set aside is never overwritten"


def test_a_live_file_that_cannot_be_read_is_not_replaced(registry: ModelRegistry, tmp_path: Path) -> None:
    card = registry.add(make_version(tmp_path / "run"))
    (registry.user_dir / "live.json").mkdir()
    assert registry.get_live_id("lungs") == "lungs-unet@1"
    with pytest.raises(MedSegError, match=r"live\.json"):
        registry.promote(card.id)


@pytest.mark.parametrize("damage", DAMAGED_JSON)
def test_a_damaged_card_is_named_once(
    registry: ModelRegistry, tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    card = registry.add(make_version(tmp_path / "run"))
    registry.promote(card.id)
    (registry.get_folder(card.id) / "card.json").write_bytes(damage)
    for _ in range(70):
        assert registry.get_live_id("lungs") == "lungs-unet@1"
        registry.read_task_catalog()
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert "card.json is not a valid model card" in caplog.records[0].message
    assert "was live but is missing" in caplog.records[1].message


def test_a_damaged_task_file_is_named_once(registry: ModelRegistry, caplog: pytest.LogCaptureFixture) -> None:
    registry.tasks_dir.mkdir(parents=True)
    (registry.tasks_dir / "larynx.json").write_bytes(b'{"name": "lar\xff')
    for _ in range(70):
        assert "lungs" in registry.read_task_catalog()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "larynx.json is not a task" in caplog.text


def test_persons_version_hides_a_bundled_one_of_the_same_id(registry: ModelRegistry, tmp_path: Path) -> None:
    own = registry.add(make_version(tmp_path / "run", weights=b"own"))
    make_version(registry.bundled_dir / "lungs-unet" / "2", version=2, weights=b"from an update")
    assert registry.get_folder(own.id).is_relative_to(registry.user_dir)
    assert registry.get_live_card("lungs").id == "lungs-unet@1"


def test_a_region_of_interest_is_found_by_the_live_version_of_its_task(registry: ModelRegistry, tmp_path: Path) -> None:
    everywhere = registry.get_live_card("lungs")
    assert (registry.find_roi_model(everywhere), registry.find_roi_folder(everywhere)) == (None, None)
    inside = everywhere.model_copy(update={"task": "covid", "field": RegionOfInterest(task="lungs")})
    assert registry.find_roi_model(inside) == everywhere
    promoted = registry.add(make_version(tmp_path / "run"))
    registry.promote(promoted.id)
    assert registry.find_roi_folder(inside) == registry.get_folder("lungs-unet@2")
    elsewhere = inside.model_copy(update={"field": RegionOfInterest(task="nuclei")})
    with pytest.raises(MedSegError, match="the task 'nuclei' has no live model"):
        registry.find_roi_folder(elsewhere)


def test_nothing_is_read_again_until_a_file_changes(
    registry: ModelRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_state, "SETTLING_NS", -(10**9))
    registry.add(make_version(tmp_path / "run"))
    registry.promote("lungs-unet@2")
    assert registry.get_live_id("lungs") == "lungs-unet@2"
    opened: list[str] = []
    read_bytes = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: opened.append(path.name) or read_bytes(path))
    for _ in range(3):
        registry.get_live_card("lungs")
        registry.get_folder("lungs-unet@1")
    assert not opened
    other = ModelRegistry(registry.user_dir, registry.bundled_dir)  # as another process has one
    other.roll_back("lungs")
    assert registry.get_live_id("lungs") == "lungs-unet@1"
    other.add(make_version(tmp_path / "run2"))
    assert [card.version for card in registry.list_versions("lungs")] == [3, 2, 1]
    shutil.rmtree(registry.user_dir / "lungs-unet" / "3")
    assert [card.version for card in registry.list_versions("lungs")] == [2, 1]
