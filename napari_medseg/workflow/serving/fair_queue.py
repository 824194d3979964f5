"""The order in which a server works: one request for each lane (a GPU) at a time, and users in turn.

Who sends 300 images waits as long for each as who sends one: the next request is the oldest of the user who was served
the longest ago. All methods are called in the event loop.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Lane = TypeVar("Lane")
FORGETTING = 0.3
"""Weight of the newest request in the mean of the time for a unit of work."""


@dataclass(eq=False)
class Ticket:
    """One request that waits: whose it is, how much work it is, and what is called when the place changes."""

    user: str
    work: float
    on_place: "Callable[[int, float | None], None]"
    turn: "asyncio.Future[None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    told: tuple[int, float | None] | None = None


class FairQueue(Generic[Lane]):
    """Gives lanes to users in turn.

    Parameters
    ----------
    lanes
        What works on one request at a time, such as the engine of one GPU.
    """

    def __init__(self, lanes: list[Lane]) -> None:
        self._free = deque(lanes)
        self._n_lanes = len(lanes)
        self._waiting: OrderedDict[str, deque[Ticket]] = OrderedDict()
        self._running: dict[int, tuple[float, float]] = {}
        self._seconds_per_work: float | None = None

    @property
    def n_waiting(self) -> int:
        """How many requests wait."""
        return sum(len(tickets) for tickets in self._waiting.values())

    @asynccontextmanager
    async def take_turn(
        self, user: str, work: float, on_place: Callable[[int, float | None], None]
    ) -> AsyncIterator[Lane]:
        """Wait for a lane, hold it inside the context, and pass it on to the next user.

        Parameters
        ----------
        user
            Who asks; the turns go round by this name.
        work
            Size of the request in any unit, such as voxels, from which the time is estimated.
        on_place
            Called with the number of requests before this one, and the seconds until its turn, if these change.
        """
        if not self._free or self._waiting:
            await self._wait(Ticket(user, work, on_place))
        lane = self._free.popleft()
        self._move_back(user)
        clock = asyncio.get_running_loop()
        began, key = clock.time(), id(on_place)
        self._running[key] = (began, work)
        try:
            yield lane
        finally:
            del self._running[key]
            self._learn(clock.time() - began, work)
            self._free.append(lane)
            self._pass_on()

    def list_order(self) -> list[Ticket]:
        """Return the tickets in the order in which they will be served, as far as it is known now."""
        rounds = [deque(tickets) for tickets in self._waiting.values()]
        order = []
        while rounds:
            rounds = [tickets for tickets in rounds if tickets]
            order.extend(tickets.popleft() for tickets in rounds)
        return order

    async def _wait(self, ticket: Ticket) -> None:
        self._waiting.setdefault(ticket.user, deque()).append(ticket)
        self._pass_on()
        try:
            await ticket.turn
        except asyncio.CancelledError:
            self._leave(ticket)
            self._pass_on()  # it may just have been called
            raise
        self._leave(ticket)

    def _pass_on(self) -> None:
        """Call the next one for a free lane. It takes the lane itself, before anybody else can."""
        order = [ticket for ticket in self.list_order() if not ticket.turn.cancelled()]
        called = [ticket for ticket in order if ticket.turn.done()]
        waiting = [ticket for ticket in order if not ticket.turn.done()]
        for ticket in waiting[: max(0, len(self._free) - len(called))]:
            ticket.turn.set_result(None)
        self.tell_places()

    def _leave(self, ticket: Ticket) -> None:
        tickets = self._waiting.get(ticket.user)
        if tickets is not None and ticket in tickets:
            tickets.remove(ticket)
            if not tickets:
                del self._waiting[ticket.user]

    def _move_back(self, user: str) -> None:
        if user in self._waiting:
            self._waiting.move_to_end(user)

    def _learn(self, seconds: float, work: float) -> None:
        rate = seconds / max(work, 1e-9)
        before = self._seconds_per_work
        self._seconds_per_work = rate if before is None else (1 - FORGETTING) * before + FORGETTING * rate

    def tell_places(self) -> None:
        """Tell all who wait their place and the expected seconds; call this now and then, because time passes."""
        rate, now = self._seconds_per_work, asyncio.get_running_loop().time()
        ahead = 0.0
        if rate is not None:
            ahead = sum(max(0.0, rate * work - (now - began)) for began, work in self._running.values())
        for place, ticket in enumerate(self.list_order()):
            seconds = None if rate is None else round(ahead / self._n_lanes, 1)
            n_before = place + len(self._running)
            if ticket.told != (n_before, seconds):
                ticket.told = (n_before, seconds)
                ticket.on_place(n_before, seconds)
            ahead += 0.0 if rate is None else rate * ticket.work
