"""Ensembles: several networks of one architecture; the result is the mean of their probabilities.

An ensemble is one version with one card and one file: the options hold the members' architecture, the file holds all
weights. Time, memory and disk space grow with the number of members.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import Architecture

ENSEMBLE = "ensemble"
MEMBER, N_MEMBERS = "member", "n_members"


class Ensemble(nn.Module):
    """Mean of the members' probabilities, as logits (Huang et al., Snapshot ensembles, ICLR 2017).

    Parameters
    ----------
    members
        Networks from (n, c, h, w) to logits (n, classes, h, w).
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (n, c, h, w) to the logarithm of the members' mean probability, float32 (n, classes, h, w).

        Its softmax is that mean.
        """
        together: Tensor | None = None
        for member in self.members:  # one after the other, so that at most two outputs are in memory
            said = torch.log_softmax(member(images).float(), dim=1)
            together = said if together is None else torch.logaddexp(together, said)
        assert together is not None
        return together - math.log(len(self.members))


def make_ensemble_architecture(member: Architecture, n_members: int) -> Architecture:
    """Return the architecture of an ensemble of networks of one architecture.

    Raises
    ------
    MedSegError
        If the member is an ensemble itself.
    """
    if member.name == ENSEMBLE:
        raise MedSegError("an ensemble cannot have ensembles as members. Start from a version with a single network.")
    options = {MEMBER: member.name, N_MEMBERS: n_members, **member.options}
    return member.model_copy(update={"name": ENSEMBLE, "options": options})


def build_ensemble(architecture: Architecture, build_member: Callable[[Architecture], nn.Module]) -> nn.Module:
    """Make an ensemble with random weights.

    Parameters
    ----------
    architecture
        Its options hold ``member`` (the members' architecture), ``n_members``, and the members' own options.
    build_member
        Builds one member.

    Raises
    ------
    MedSegError
        If options are missing, or the member is unknown.
    """
    options = dict(architecture.options)
    name, n_members = options.pop(MEMBER, None), options.pop(N_MEMBERS, None)
    if not isinstance(name, str) or not isinstance(n_members, int) or n_members < 1 or name == ENSEMBLE:
        raise MedSegError(
            f"an ensemble needs the options {MEMBER!r} (of one network) and {N_MEMBERS!r} (1 or more), "
            f"but has {architecture.options}. Correct the architecture in the card."
        )
    member = architecture.model_copy(update={"name": name, "options": options})
    return Ensemble([build_member(member) for _ in range(n_members)])


def merge_member_weights(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the weights of an ensemble from those of its members, in order; tensors keep shape and type."""
    return {f"members.{index}.{name}": tensor for index, state in enumerate(states) for name, tensor in state.items()}
