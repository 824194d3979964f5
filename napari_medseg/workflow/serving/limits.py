"""What one user, and all users together, may take of a server. Above it, the window predicts on its own computer."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from napari_medseg.inference.remote.messages import RemoteRefused


@dataclass(frozen=True)
class ServerLimits:
    """Sizes in bytes, times in seconds.

    Parameters
    ----------
    max_connections, max_connections_per_user
        At the same time; further ones are refused with HTTP 503.
    max_unproven
        Connections that have not shown a token yet, also those that have not ended their TLS handshake.
    max_orders_per_minute
        Of one user, without those that were served to their end: they wait for their turn.
    max_image_bytes, max_version_bytes
        Of the pixels of one image, and of one file of a version.
    max_memory_bytes
        Of all images that are received or wait; who comes later is asked for pixels when there is room. Half of it at
        most for one user with several images.
    max_cache_bytes
        Of the versions that are kept on the disk.
    max_user_bytes, keep_days
        What is kept on the disk for the training runs of one user, and for how long after anybody asked for a run.
    frame_timeout_s, handshake_timeout_s
        For one frame of 1 MiB, and for a connection to show its token.
    ping_s
        Between two pings; a window that answers none for as long as one frame may take is gone.
    """

    max_connections: int = 256
    max_connections_per_user: int = 8
    max_unproven: int = 64
    max_orders_per_minute: int = 600
    max_image_bytes: int = 4 * 2**30
    max_version_bytes: int = 2 * 2**30
    max_memory_bytes: int = 16 * 2**30
    max_cache_bytes: int = 20 * 2**30
    max_user_bytes: int = 50 * 10**9
    keep_days: float = 14.0
    frame_timeout_s: float = 30.0
    handshake_timeout_s: float = 10.0
    ping_s: float = 10.0


class OrderRate:
    """Counts the orders of each user in the last minute that were not served, such as cancelled or refused ones."""

    def __init__(self, max_per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._max = max_per_minute
        self._clock = clock
        self._times: dict[str, deque[float]] = {}

    def count(self, user: str) -> None:
        """Count an order; raises `RemoteRefused` if there were too many."""
        times, now = self._times.setdefault(user, deque()), self._clock()
        while times and now - times[0] > 60.0:
            times.popleft()
        if len(times) >= self._max:
            raise RemoteRefused(f"the server takes at most {self._max} requests a minute from one user")
        times.append(now)

    def forget_last(self, user: str) -> None:
        """Count an order no more that was served: those wait for their turn, so they take nothing from others."""
        if times := self._times.get(user):
            times.pop()


class ConnectionCount:
    """Counts the connections of each user."""

    def __init__(self, limits: ServerLimits) -> None:
        self._limits = limits
        self._of_user: Counter[str] = Counter()

    def may_enter(self, user: str) -> bool:
        """Whether one more connection of a user is allowed."""
        of_user = self._of_user[user] < self._limits.max_connections_per_user
        return of_user and self._of_user.total() < self._limits.max_connections

    def enter(self, user: str) -> None:
        """Count a connection."""
        self._of_user[user] += 1

    def leave(self, user: str) -> None:
        """Count a connection no more."""
        self._of_user[user] -= 1
        if not self._of_user[user]:
            del self._of_user[user]


class UnprovenConnections:
    """Connections that have not shown a token yet, from their first moment: before their TLS handshake.

    If there are too many, the oldest one of the host that has most of them is closed. A window shows its token within
    moments, so a flood does not keep it out.

    Parameters
    ----------
    max_number
        How many may wait at the same time.
    """

    def __init__(self, max_number: int) -> None:
        self._max_number = max_number
        self._lines: dict[object, asyncio.Transport] = {}  # oldest first

    def enter(self, connection: object, line: asyncio.Transport) -> None:
        """Count a connection, whose TCP transport is `line`; close another one if there are too many."""
        self._lines[connection] = line
        if len(self._lines) > self._max_number:
            hosts = {one: get_host(its_line) for one, its_line in self._lines.items()}
            host, _ = Counter(hosts.values()).most_common(1)[0]
            self._lines.pop(next(one for one in hosts if hosts[one] == host)).abort()

    def leave(self, connection: object) -> None:
        """Count a connection no more: it has shown its token, or is closed."""
        self._lines.pop(connection, None)


def get_host(line: asyncio.BaseTransport) -> str:
    """Return the address of the other end."""
    address = line.get_extra_info("peername")
    return str(address[0]) if address else "an unknown address"


class MemoryBudget:
    """Lets images in as long as there is room for them; the first who waits comes first.

    A user who has something may take half of all: so nobody waits for the slow line of one other user.
    """

    def __init__(self, n_bytes: int) -> None:
        self._total = self._left = n_bytes
        self._waiting: deque[tuple[int, str, asyncio.Future[None]]] = deque()
        self._held: Counter[str] = Counter()

    @property
    def n_waiting(self) -> int:
        """How many images wait for room."""
        return len(self._waiting)

    def request(self, n_bytes: int, user: str = "") -> "Reservation":
        """Ask for so many bytes.

        Raises
        ------
        RemoteRefused
            If there are never so many.
        """
        if n_bytes > self._total:
            raise RemoteRefused(
                f"the image needs {n_bytes / 1e6:,.0f} MB on the server, which gives {self._total / 1e6:,.0f}"
            )
        return Reservation(self, n_bytes, user)

    async def take(self, n_bytes: int, user: str = "") -> None:
        """Wait until there is room, and take it."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((n_bytes, user, turn))
        self._let_in()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back(n_bytes, user)
            raise
        finally:
            self._waiting = deque(one for one in self._waiting if one[2] is not turn)
            self._let_in()

    def give_back(self, n_bytes: int, user: str = "") -> None:
        """Make room for others."""
        self._left += n_bytes
        self._held[user] -= n_bytes
        if self._held[user] <= 0:
            del self._held[user]
        self._let_in()

    def _let_in(self) -> None:
        passed: set[str] = set()
        for one in list(self._waiting):
            n_bytes, user, turn = one
            if user in passed or (self._held[user] and self._held[user] + n_bytes > self._total // 2):
                passed.add(user)  # those of other users do not wait for this one
                continue
            if n_bytes > self._left:
                return
            self._waiting.remove(one)
            if not turn.done():
                self._left -= n_bytes
                self._held[user] += n_bytes
                turn.set_result(None)


class Reservation:
    """A part of the `MemoryBudget`; to release it twice, or before it was given, does no harm."""

    def __init__(self, budget: MemoryBudget, n_bytes: int, user: str) -> None:
        self._budget = budget
        self._n_bytes = n_bytes
        self._user = user
        self._is_held = False

    async def wait(self) -> None:
        """Wait until there is room."""
        await self._budget.take(self._n_bytes, self._user)
        self._is_held = True

    def release(self) -> None:
        """Make room for others."""
        if self._is_held:
            self._is_held = False
            self._budget.give_back(self._n_bytes, self._user)
