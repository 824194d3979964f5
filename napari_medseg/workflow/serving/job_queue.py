"""Which job of which user comes next on a server, and how long the others wait."""

import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from napari_medseg.workflow.serving.job_calls import Purpose


@dataclass
class QueuedJob:
    """A job that waits or runs. Times are in seconds since the Unix epoch; `began_at` is 0 while it waits."""

    user: str
    job: str
    purpose: Purpose
    queued_at: float
    budget_s: float | None
    began_at: float = 0.0
    device: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """User and job."""
        return self.user, self.job


def order_fairly(waiting: Iterable[QueuedJob], served_at: dict[str, float]) -> list[QueuedJob]:
    """Return the jobs in the order in which they begin: each user in turn, the one who was served longest ago first.

    Parameters
    ----------
    waiting
        Jobs that wait.
    served_at
        When a job of each user began last; a user without one comes first.
    """
    left = sorted(waiting, key=lambda one: one.queued_at)
    served, now, order = dict(served_at), time.time(), []
    while left:
        first = min(left, key=lambda one: (served.get(one.user, 0.0), one.queued_at))
        left.remove(first)
        order.append(first)
        now += 1.0
        served[first.user] = now
    return order


def estimate_wait_s(
    ahead: Sequence[QueuedJob], running: Collection[QueuedJob], n_lanes: int, now: float
) -> float | None:
    """Return the seconds until a job begins that has these jobs ahead of it; `None` if one has no time budget."""
    lanes = []
    for one in running:
        if one.budget_s is None:
            return None
        lanes.append(max(0.0, one.budget_s - (now - one.began_at)))
    lanes += [0.0] * (n_lanes - len(lanes))
    for one in ahead:
        if one.budget_s is None:
            return None
        lanes.sort()
        lanes[0] += one.budget_s
    return min(lanes, default=0.0)
