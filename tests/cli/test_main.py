"""The command line as a whole: its help and its exit codes."""

from collections.abc import Callable

Call = Callable[..., tuple[int, str, str]]


def test_help_names_every_command_and_usage_errors_end_with_2(medseg: Call) -> None:
    code, out, _ = medseg("--help")
    assert code == 0
    for command in ("predict", "evaluate", "queue", "export", "train", "models"):
        assert command in out
    assert "napari-medseg[cluster]" in medseg("predict", "--help")[1], "brackets are no markup"
    assert medseg("predict")[0] == 2
    assert medseg("fly")[0] == 2
    assert medseg("--version")[1].startswith("napari-medseg ")
