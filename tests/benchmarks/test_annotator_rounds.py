"""Rounds of corrections: the orders choose what they promise, and the tables compare like with like."""

from pathlib import Path

import annotator_rounds
import annotator_tables
import numpy as np
import pytest
from annotator_rounds import Glance

from napari_medseg.core.snapshot import Role, SnapshotItem


def make_item(name: str, group: str) -> SnapshotItem:
    return SnapshotItem(name=name, image=f"/{name}.png", labels=f"/{name}.tif", group=group, role=Role.TRAIN)


def make_effort(looks: int) -> dict[str, float]:
    return {"strokes": 0, "stroke_px": 0.0, "clicks": 0, "keys": 0, "looks": looks}


def test_the_queue_takes_one_image_of_every_patient_first_and_unlike_ones_before_unsure_ones() -> None:
    left = [make_item(name, group) for name, group in zip("abcd", ("1", "1", "2", "3"), strict=True)]
    glances = [
        Glance(value, is_unlike, {}) for value, is_unlike in ((0.9, False), (0.8, False), (0.1, True), (0.2, False))
    ]
    assert annotator_rounds.rank_by_queue(left, glances, []) == [2, 0, 3, 1]
    assert annotator_rounds.rank_by_queue(left, glances, [make_item("e", "2")]) == [0, 3, 2, 1]


def test_the_order_by_entropy_takes_each_label_in_turn() -> None:
    glances = [Glance(0.0, False, {1: 0.1, 2: 0.9}), Glance(0.0, False, {1: 0.8}), Glance(0.0, False, {1: 0.7, 2: 0.1})]
    rng = np.random.default_rng(0)
    assert annotator_rounds.rank_by_entropy(glances, 0.0, rng) == [1, 0, 2]
    assert annotator_rounds.rank_by_entropy([Glance(0.0, False, {})] * 3, 0.0, rng) == [0, 1, 2]
    noisy = {tuple(annotator_rounds.rank_by_entropy(glances, 10.0, rng)) for _ in range(30)}
    assert len(noisy) > 2


def test_listed_images_come_by_name_and_corrected_ones_never_again(tmp_path: Path) -> None:
    pool = [make_item(f"{number:02d}", "1") for number in range(12)]
    chosen = annotator_rounds.choose_next("listed", pool, pool[:2], tmp_path, 0, np.random.default_rng(0))
    assert [item.name for item in chosen] == [f"{number:02d}" for number in range(2, 10)]
    drawn = annotator_rounds.choose_next("random", pool, pool[:4], tmp_path, 0, np.random.default_rng(0))
    assert {item.name for item in drawn} == {item.name for item in pool[4:]}


def test_the_tables_compare_a_round_with_the_same_images_before_the_first() -> None:
    chain = {"kind": "round", "task": "lungs", "order": "queue", "steps": 20}
    rows = [
        chain | {"seed": seed, "round": number, "new": 0.5 + number / 10 + seed / 100, "old": 0.9 - number / 100}
        for seed in (0, 1)
        for number in (0, 1)
    ]
    assert "| lungs | queue | 20 | 0.505 (0.500-0.510, 2) | 0.605 (0.600-0.610, 2) | -0.010 to -0.010 |" in (
        annotator_tables.format_orders(rows)
    )
    work = {"kind": "seconds", "task": "lungs", "steps": 20, "seed": 0, "reached": True, "zoom": 1.0}
    seconds = [
        work | {"round": number, "case": case, "effort": make_effort(looks)}
        for number, case, looks in ((0, "a", 10), (0, "b", 90), (1, "a", 2))
    ]
    table = annotator_tables.format_seconds(seconds)
    assert "| lungs (goal 0.95) | 20 | 1 | 1 | 15.0 | 3.0 | 0.20 | 0.20 | 0.20 | 1 of 1 |" in table
    assert "| lungs (goal 0.95) | 20 | 0 | 2 | 75.0 | 75.0 | 1.00 | 1.00 | 1.00 | 2 of 2 |" in table


@pytest.mark.parametrize("number", [0, 3])
def test_a_version_of_a_chain_has_a_folder_of_its_own_and_the_base_is_round_0(number: int, tmp_path: Path) -> None:
    options = annotator_rounds.parse_arguments(["--work", str(tmp_path), "--epochs", "6"])
    domain = annotator_rounds.Domain("lungs", Path("/base"), Path("/e"), *[()] * 5)
    folder = annotator_rounds.get_version(domain, "queue", 2, number, options)
    assert folder == (tmp_path / "versions" / "lungs-queue-60-2-3" if number else Path("/base"))
