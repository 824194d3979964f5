"""The loss of a recipe, as data: one name, or the terms of a weighted sum. No torch here."""

from collections.abc import Callable
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

WEIGHT_SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda _: 1.0,
    "rising": lambda progress: min(1.0, max(0.0, progress)),
    "falling": lambda progress: 1.0 - min(1.0, max(0.0, progress)),
}
"""Factor of a term's weight as a function of the completed share of the run, in [0, 1]."""


class LossTerm(BaseModel):
    """One term of a weighted sum.

    `name` is a key of `training.losses.losses.LOSSES`, `options` are parameters of that loss. The weight is fixed,
    follows a schedule of `WEIGHT_SCHEDULES`, or is `trainable`: it starts at `weight` and is trained with the network.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    weight: float = Field(1.0, gt=0)
    schedule: Literal["constant", "rising", "falling"] = "constant"
    trainable: bool = False
    options: dict[str, float] = {}

    @model_validator(mode="after")
    def _check_weight_change(self) -> Self:
        if self.trainable and self.schedule != "constant":
            raise ValueError(
                f"the weight of {self.name!r} is trainable, so it cannot have a schedule; remove one of them"
            )
        return self

    def compute_weight(self, progress: float) -> float:
        """Return the weight at a completed share of the run, in [0, 1]; for a trainable term, its start value."""
        return self.weight * WEIGHT_SCHEDULES[self.schedule](progress)


class LossSettings(BaseModel):
    """The loss that a run minimises; the group `loss` of a recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    terms: str | Annotated[tuple[LossTerm, ...], Field(min_length=1)] = Field(
        "cross_entropy_dice", description="a key of training.losses.losses.LOSSES, or terms of a weighted sum"
    )
    class_weights: str = Field(
        "none", pattern="^(none|inverse_frequency)$", description="of the terms that average over pixels"
    )
