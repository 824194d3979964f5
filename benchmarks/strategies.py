"""Strategies of retraining, as data: the changes to the recipe of the window, and which older data are used."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Strategy:
    """One way to retrain.

    Parameters
    ----------
    title
        Name in the table.
    recipe
        Changes to the recipe of the window.
    old_data
        Which older data are used: ``"none"``, the ``"sample"`` to replay, or ``"all"``, mixed with the new data.
    start
        ``"parent"``, or ``"encoder"`` for a network whose encoder has ImageNet weights only.
    """

    title: str
    recipe: Mapping[str, object]
    old_data: str = "sample"
    start: str = "parent"


_PLAIN = {"replay_share": 0.0, "distillation": 0.0, "average_with_parent": 0.0}
_LAST = {"keep": "last"}
STRATEGIES: dict[str, Strategy] = {
    "new": Strategy("(a) new cases only", {"fine_tuning": _PLAIN}, old_data="none"),
    "all": Strategy("(b) all data, from the parent", {"fine_tuning": _PLAIN, "schedule": _LAST}, old_data="all"),
    "replay": Strategy("(c) replay", {"fine_tuning": {"distillation": 0.0, "average_with_parent": 0.0}}),
    "average": Strategy("(d) replay, averaged with the parent", {"fine_tuning": {"distillation": 0.0}}),
    "default": Strategy("(d') the same with distillation: the default", {}),
    "low_rank": Strategy("(f) the default, kernels change by rank 8 only", {"fine_tuning": {"low_rank": 8}}),
    "decoder": Strategy("(g) the default, the decoder alone learns", {"optimiser": {"encoder_rate_factor": 0.0}}),
    "scratch": Strategy(
        "(e) all data, from scratch",
        {
            "fine_tuning": {**_PLAIN, "freeze_batch_norm": False},
            "schedule": _LAST,
            "optimiser": {"learning_rate": 2e-3, "encoder_rate_factor": 0.5},
        },
        old_data="all",
        start="encoder",
    ),
}
