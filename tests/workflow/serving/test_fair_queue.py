import asyncio
from collections.abc import Awaitable, Callable

import pytest

from napari_medseg.inference.remote.messages import RemoteRefused
from napari_medseg.workflow.serving.fair_queue import FairQueue
from napari_medseg.workflow.serving.limits import MemoryBudget, OrderRate

STEP_S = 0.01
Run = Callable[..., Awaitable[None]]


class Users:
    """Takes turns in the name of users, and notes in which order, and which places they were told."""

    def __init__(self, n_lanes: int = 1) -> None:
        self.queue = FairQueue(list(range(n_lanes)))
        self.order: list[str] = []
        self.places: dict[str, list[int]] = {}
        self.n_at_once = self.most_at_once = 0

    async def ask(self, name: str, work: float = 1.0) -> None:
        """Ask for one turn; the user is the first letter."""
        told = self.places.setdefault(name, [])
        async with self.queue.take_turn(name[0], work, lambda place, _: told.append(place)):
            self.order.append(name)
            self.n_at_once += 1
            self.most_at_once = max(self.most_at_once, self.n_at_once)
            await asyncio.sleep(STEP_S)
            self.n_at_once -= 1


async def ask_in_order(users: Users, names: list[str]) -> list[asyncio.Task[None]]:
    tasks = []
    for name in names:
        tasks.append(asyncio.create_task(users.ask(name)))
        await asyncio.sleep(0)
    return tasks


def test_users_take_turns_however_many_one_sends() -> None:
    async def run() -> Users:
        users = Users()
        await asyncio.gather(*await ask_in_order(users, [*(f"a{n}" for n in range(6)), "b0", "c0", "b1"]))
        return users

    users = asyncio.run(run())
    assert users.order == ["a0", "a1", "b0", "c0", "a2", "b1", "a3", "a4", "a5"]
    assert users.most_at_once == 1
    assert users.places["b0"][-1] <= 2
    assert users.places["a5"][0] == 5


def test_each_lane_works_on_one_request() -> None:
    async def run() -> Users:
        users = Users(n_lanes=3)
        await asyncio.gather(*await ask_in_order(users, [f"{user}{n}" for n in range(4) for user in "abc"]))
        assert users.queue.n_waiting == 0
        return users

    assert asyncio.run(run()).most_at_once == 3


def test_who_leaves_makes_room_at_any_moment() -> None:
    async def run() -> None:
        for n_steps in range(8):
            users = Users()
            tasks = await ask_in_order(users, ["a0", "b0", "c0"])
            for _ in range(n_steps):
                await asyncio.sleep(STEP_S / 4)
            tasks[1].cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert users.order[-1] == "c0"
            await asyncio.wait_for(users.ask("d0"), 1)
            assert users.queue.n_waiting == 0

    asyncio.run(run())


def test_who_is_called_and_cancelled_at_once_passes_the_turn_on() -> None:
    async def run() -> None:
        users = Users()
        first, second, third = await ask_in_order(users, ["a0", "b0", "c0"])
        await first  # the second has been called, and has not run yet
        second.cancel()
        await asyncio.wait_for(third, 1)
        assert users.order[-1] == "c0"

    asyncio.run(run())


def test_a_failure_frees_the_lane() -> None:
    async def run() -> None:
        users = Users()
        with pytest.raises(OSError, match="disk"):
            async with users.queue.take_turn("a", 1.0, lambda *_: None):
                raise OSError("disk")
        await asyncio.wait_for(users.ask("b0"), 1)

    asyncio.run(run())


def test_the_expected_time_comes_from_earlier_requests() -> None:
    async def run() -> None:
        users = Users()
        await users.ask("a0", work=1.0)
        told: list[float | None] = []

        async def wait() -> None:
            async with users.queue.take_turn("c", 1.0, lambda _, seconds: told.append(seconds)):
                pass

        tasks = await ask_in_order(users, ["a1"])
        tasks += [asyncio.create_task(users.ask("b0", work=100.0)), asyncio.create_task(wait())]
        await asyncio.gather(*tasks[:1])
        assert told[0] is not None
        assert 0.8 < told[0] < 3.0, "100 times the work of 10 ms, and the one that runs"
        for task in tasks[1:]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(run())


def test_memory_is_given_in_order_and_comes_back() -> None:
    async def run() -> None:
        budget = MemoryBudget(100)
        with pytest.raises(RemoteRefused, match="the server"):
            budget.request(101)
        first, large, small = budget.request(60, "anna"), budget.request(80, "bert"), budget.request(10, "carl")
        await first.wait()
        waiting = [asyncio.create_task(one.wait()) for one in (large, small)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting), "the small one does not overtake for ever"
        waiting[0].cancel()
        await asyncio.gather(waiting[0], return_exceptions=True)
        await asyncio.wait_for(waiting[1], 1)
        for one in (first, small, large, first):
            one.release()
        await asyncio.wait_for(budget.request(100).wait(), 1)

    asyncio.run(run())


def test_orders_are_counted_by_user_and_minute() -> None:
    now = [0.0]
    rate = OrderRate(2, lambda: now[0])
    rate.count("anna")
    rate.count("anna")
    rate.count("bert")
    with pytest.raises(RemoteRefused, match="2 requests a minute"):
        rate.count("anna")
    now[0] = 61.0
    rate.count("anna")
