import pytest
from plugin_phantoms import Texts

from napari_medseg.core.errors import MedSegError
from napari_medseg.plugin.widgets.back_off import FIRST_DELAY_S, MAX_DELAY_S, BackOff


def test_failing_work_waits_longer_each_time_and_is_reported_once(told: Texts) -> None:
    now, calls = [0.0], []
    back_off = BackOff(lambda: now[0])

    def fail() -> None:
        calls.append(now[0])
        raise MedSegError("the disk is full")

    for second in range(100):
        now[0] = float(second)
        back_off.call(fail)
    assert calls == [0.0, FIRST_DELAY_S, 3 * FIRST_DELAY_S, 7 * FIRST_DELAY_S, 15 * FIRST_DELAY_S]
    assert list(told) == ["the disk is full"]
    now[0] = 1000.0
    back_off.call(lambda: calls.append(now[0]))
    assert back_off.seconds_left == 0
    back_off.call(fail)
    assert len(told) == 2, "after a success a failure is news again"


def test_the_delay_has_a_limit() -> None:
    back_off = BackOff(lambda: 0.0)
    assert [back_off.record_failure() for _ in range(50)].count(True) == 1
    assert back_off.seconds_left == MAX_DELAY_S


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), MemoryError()])
def test_errors_of_the_machine_are_a_message(told: Texts, error: Exception) -> None:
    def fail() -> None:
        raise error

    BackOff().call(fail)
    assert len(told) == 1


def test_a_bug_keeps_its_traceback() -> None:
    def fail() -> None:
        raise ValueError("a fault of ours")

    with pytest.raises(ValueError, match="a fault of ours"):
        BackOff().call(fail)
