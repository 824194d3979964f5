"""The benchmark of retraining on a tiny domain: every strategy runs, and a rerun makes only what is missing."""

from pathlib import Path

import corrections
import corrupted
import pytest
import torch
from domains import BenchmarkSetup, Domain, split_old_items
from retraining import add_row, make_recipe, make_training_items, read_rows
from strategies import STRATEGIES
from training_phantoms import item, small_card

from napari_medseg.core.snapshot import Role, SnapshotItem
from napari_medseg.networks import build_network, save_version

TINY = {"n_epochs": 1, "steps_per_epoch": 1, "patch_px": 64, "batch_size": 4, "precision": "fp32"}


@pytest.fixture
def domain(tmp_path: Path) -> Domain:
    torch.manual_seed(0)
    save_version(build_network(small_card().architecture), small_card(), tmp_path / "base")

    def made(name: str, role: Role, count: int, seed: int) -> tuple[SnapshotItem, ...]:
        items = [item(tmp_path, f"{name}{n}", role, seed=seed + n) for n in range(count)]
        return tuple(
            one.model_copy(update={"image": str(tmp_path / one.image), "labels": str(tmp_path / one.labels)})
            for one in items
        )

    old = [*made("old", Role.TRAIN, 5, 0), *made("judged", Role.HOLD_OUT, 2, 20)]
    base = tmp_path / "base"
    new, judged = made("new", Role.TRAIN, 4, 40), made("newjudged", Role.TRAIN, 2, 60)
    return Domain("lungs", base, base, *split_old_items(old), new, judged)


@pytest.mark.parametrize("strategies", [("new", "default"), pytest.param(tuple(STRATEGIES), marks=pytest.mark.long)])
def test_every_strategy_runs_once_and_the_rest_is_skipped(
    strategies: tuple[str, ...], domain: Domain, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = BenchmarkSetup(tmp_path, tmp_path, tmp_path / "work", recipe=TINY)
    out = ["--out", str(tmp_path / "out"), "--counts", "2", "--seeds", "0", "--budget-s", "20", "--n-judged", "2"]
    first = corrections.parse_arguments([*out, "--strategies", "new"])
    corrections.run_missing("lungs", domain, place, first)
    corrections.run_missing("lungs", domain, place, corrections.parse_arguments([*out, "--strategies", *strategies]))
    rows = read_rows(tmp_path / "out" / corrections.RESULTS)
    others = [name for name in strategies if name not in ("base", "new")]
    assert [row["strategy"] for row in rows] == ["base", "new", *others]
    assert all(0 <= row["new"] <= 1 and row["n_old"] == 2 for row in rows)
    assert capsys.readouterr().out.count("lungs") == len(rows) - 1 == len(strategies)
    assert corrections.main([*out, "--report"]) == 0
    text = (tmp_path / "out" / "fine_tuning.md").read_text(encoding="utf-8")
    assert all(STRATEGIES[name].title in text for name in strategies)
    assert (tmp_path / "out" / "fine_tuning.svg").read_text(encoding="utf-8").count("<polyline") == 2 * len(STRATEGIES)


def test_strategies_differ_in_their_lessons_and_recipes(domain: Domain, tmp_path: Path) -> None:
    place = BenchmarkSetup(tmp_path, tmp_path, tmp_path)
    new = domain.new[:1]
    counts = {name: len(make_training_items(domain, strategy, new)) for name, strategy in STRATEGIES.items()}
    assert counts == {name: 1 if name == "new" else 6 for name in STRATEGIES}
    roles = [one.role for one in make_training_items(domain, STRATEGIES["all"], new)]
    assert (roles.count(Role.TRAIN), roles.count(Role.REPLAY), roles.count(Role.VALIDATE)) == (5, 0, 1)
    recipes = {name: make_recipe(domain, strategy, 30.0, 1, place) for name, strategy in STRATEGIES.items()}
    assert {name for name, recipe in recipes.items() if recipe.fine_tuning.replay_share} == {
        "replay",
        "average",
        "default",
        "low_rank",
        "decoder",
    }
    assert {name for name, recipe in recipes.items() if recipe.fine_tuning.distillation} == {
        "default",
        "low_rank",
        "decoder",
    }
    assert {name for name, recipe in recipes.items() if recipe.fine_tuning.low_rank} == {"low_rank"}
    assert {name for name, recipe in recipes.items() if not recipe.optimiser.encoder_rate_factor} == {"decoder"}
    assert all(
        recipe.run.budget_s == 30.0 and recipe.run.seed == 1 and recipe.run.n_threads == 1
        for recipe in recipes.values()
    )


def test_twenty_corrupted_trials_with_controls_between(tmp_path: Path) -> None:
    plan = corrupted.plan_trials(20)
    names = [name for _, name in plan]
    assert [names.count(name) for name in corrupted.CORRUPTIONS] == [7, 7, 6, 5]
    assert len(set(plan)) == 25
    add_row(tmp_path / "rows.jsonl", {"a": 1})
    add_row(tmp_path / "rows.jsonl", {"a": 2})
    assert read_rows(tmp_path / "rows.jsonl") == [{"a": 1}, {"a": 2}]
