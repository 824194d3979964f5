"""`medseg benchmark`: the bundled suites are found by their name or letter; no row is trained here."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from training.benchmark import runner

Call = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("suite", "message"),
    [
        ("a", "'no-such-row'"),
        ("D_lesions", "'no-such-row'"),
        ("no-such-suite.toml", "no-such-suite.toml"),
        ("f", "choose among a_lungs_pspnet, b_"),
    ],
)
def test_an_unknown_suite_or_row_is_one_line(medseg: Call, tmp_path: Path, suite: str, message: str) -> None:
    code, out, err = medseg("benchmark", suite, "--row", "no-such-row", "--out", tmp_path / "out")
    assert (code, out) == (1, "")
    assert message in err
    assert err.startswith("medseg: ")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("is_stopped", "expected"), [(True, 130), (False, 1)])
def test_a_failed_row_is_told_and_a_stop_is_the_exit_code(
    medseg: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_stopped: bool, expected: int
) -> None:
    def run_rows(planned: list[runner.PlannedRun], *_: object) -> Iterator[runner.RowEnded]:
        yield runner.RowEnded(planned[0], "out of memory")
        if is_stopped:
            raise KeyboardInterrupt

    monkeypatch.setattr(runner, "run_rows", run_rows)
    code, _, err = medseg("benchmark", "a", "--device", "cpu", "--out", tmp_path / "out")
    assert code == expected
    assert "rows failed; the table gives the reasons" in err
    assert (tmp_path / "out" / "table.md").exists()
