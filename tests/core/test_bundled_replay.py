"""What is replayed: the samples that a version learnt from, and no others."""

import json
from pathlib import Path

import pytest

import napari_medseg
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import ModelCard, read_card
from napari_medseg.core.replay import find_replay_groups, read_replay_samples
from napari_medseg.core.tasks.bundled_tasks import TASKS

PACKAGE = Path(napari_medseg.__file__).parent
BUNDLED = sorted(path.parent for path in (PACKAGE / "models").glob("*/*/card.json"))


def base(*sources: str) -> ModelCard:
    card = read_card(BUNDLED[0] / "card.json")
    data = [card.training_data[0].model_copy(update={"name": source}) for source in sources]
    return card.model_copy(update={"task": "lungs", "training_data": data})


def write(folder: Path, **items: list[dict[str, str]]) -> Path:
    (folder / "replay.json").write_text(json.dumps(items))
    return folder


def test_a_sample_of_a_source_is_for_versions_that_learnt_from_it(tmp_path: Path) -> None:
    ct = {"image": "a.tif", "labels": "b.tif", "group": "p1"}
    xray = {"image": "c.tif", "labels": "d.tif", "group": "p2", "source": "X-rays"}
    samples = write(tmp_path, lungs=[ct, xray], nuclei=[ct | {"group": "p3"}])
    assert [item.group for item in read_replay_samples(samples, base("CT"))] == ["p1"]
    assert [item.group for item in read_replay_samples(samples, base("CT", "X-rays"))] == ["p1", "p2"]
    assert find_replay_groups(samples, [base("CT")]) == {"p1"}


def test_without_samples_nothing_is_replayed_and_a_damaged_list_is_named(tmp_path: Path) -> None:
    assert read_replay_samples(tmp_path, base()) == []
    (tmp_path / "replay.json").write_text("{")
    with pytest.raises(MedSegError, match="not a list of samples"):
        read_replay_samples(tmp_path, base())


@pytest.mark.parametrize("folder", BUNDLED, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_the_bundled_samples_are_there_and_none_was_held_out(folder: Path) -> None:
    card = read_card(folder / "card.json")
    assert card.task in TASKS
    for item in read_replay_samples(PACKAGE / "samples", card):
        assert (PACKAGE / "samples" / item.image).exists()
        assert (PACKAGE / "samples" / item.labels).exists()
