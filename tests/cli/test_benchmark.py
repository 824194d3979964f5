"""`medseg benchmark`: the bundled suites are found by their name or letter; no row is trained here."""

from collections.abc import Callable
from pathlib import Path

import pytest

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
