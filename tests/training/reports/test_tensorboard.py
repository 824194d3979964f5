import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from training.__main__ import main
from training.run_folder import Failed, read_events

MakeRun = Callable[..., Path]
IS_THERE = importlib.util.find_spec("tensorboard") is not None


@pytest.mark.skipif(IS_THERE, reason="TensorBoard is installed here")
def test_without_tensorboard_a_run_that_wants_it_says_what_to_do(make_run: MakeRun) -> None:
    run_dir = make_run(tensorboard=True)
    assert main([str(run_dir)]) == 1
    last = [event for event, _ in read_events(run_dir)][-1]
    assert isinstance(last, Failed)
    assert "pip install" in last.message


@pytest.mark.skipif(not IS_THERE, reason="needs TensorBoard")
def test_curves_are_written_on_request(make_run: MakeRun) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run_dir = make_run(tensorboard=True)
    assert main([str(run_dir)]) == 0
    read = EventAccumulator(str(run_dir / "tensorboard"))
    read.Reload()
    assert [point.step for point in read.Scalars("dice/validation")] == [1, 2, 3]
    assert set(read.Tags()["scalars"]) == {"loss/train", "dice/validation", "learning rate"}
