"""`kill -9` at random moments: what was painted and accepted before is there afterwards, and a run ends as it would."""

import json
from collections.abc import Callable

import pytest


@pytest.mark.timeout(0)
@pytest.mark.parametrize(("what", "n_short"), [("window", 3), ("trainer", 2)])
def test_nothing_is_lost_by_kills(
    what: str, n_short: int, run_script: Callable[..., str], is_long: bool, is_complete: bool
) -> None:
    n = 200 if is_long else n_short
    result = json.loads(run_script("kills.py", what, "--n", n))
    assert result["kills"] >= (n if is_complete else 1)
    assert result["faults"] == []
    if what == "window":
        assert result["strokes"] > n
    else:
        assert result["finished_runs"] >= 1
