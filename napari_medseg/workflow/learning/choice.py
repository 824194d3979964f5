"""Which corrections an adaptation learns from, and which compare it with the live version."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from napari_medseg.core.grouping.split import MIN_GROUPS_TO_VALIDATE_RETRAIN, choose_validation_groups
from napari_medseg.core.readings.records import FIRST
from napari_medseg.core.records import Case, Correction

AcceptedCase = tuple[Case, Correction]

N_NEWEST, MAX_LEARNT, MAX_COMPARED = 4, 12, 8
"""The newest corrections, and of the earlier ones as many as can be read in seconds, evenly chosen."""


@dataclass(frozen=True)
class Choice:
    """The corrections to learn from, and those of validation cases, which no adapted state has seen.

    `begins_anew`: the state has seen every validation case, as those of the first two groups. It is left, and what
    learns next starts from the live version: a state that can be compared takes as much of the adapted weights as
    helps (`docs/learning-at-accept.md` has the figures).
    """

    learnt: tuple[AcceptedCase, ...]
    compared: tuple[AcceptedCase, ...]
    begins_anew: bool = False


def list_usable(pairs: Iterable[AcceptedCase]) -> list[AcceptedCase]:
    """Return the accepted cases without held-out ones and without blind second readings, the oldest correction first.

    A second reading must not be influenced by the first, and is not used either: it measures how far people agree.
    """
    usable = [(case, correction) for case, correction in pairs if not case.held_out and correction.reading == FIRST]
    return sorted(usable, key=lambda pair: pair[1].id)


def choose_corrections(
    usable: Sequence[AcceptedCase], seen: Collection[int], clear_names: dict[str, str] | None = None
) -> Choice:
    """Choose corrections of `list_usable`.

    Validation groups are those of a retrain, so that no case changes sides then. A group of which a correction was
    learnt already, that is in `seen`, is not validated on; if there is no other one, the choice begins anew.

    Parameters
    ----------
    usable
        Accepted cases, the oldest correction first.
    seen
        Ids of the corrections that the state to go on from has seen.
    clear_names
        Names of groups by their keys: the choice is the same in every project of these images.
    """
    names = clear_names or {}
    groups = {names.get(case.group, case.group): case.group for case, _ in usable}
    wanted = {groups[name] for name in choose_validation_groups(groups, MIN_GROUPS_TO_VALIDATE_RETRAIN)}
    validating = wanted - {case.group for case, correction in usable if correction.id in seen}
    if begins_anew := bool(wanted) and not validating:
        validating = wanted
    learnt = [pair for pair in usable if pair[0].group not in validating]
    compared = [pair for pair in usable if pair[0].group in validating]
    return Choice(tuple(thin_older(learnt)), tuple(compared[-MAX_COMPARED:]), begins_anew)


def thin_older(pairs: Sequence[AcceptedCase]) -> list[AcceptedCase]:
    """Return at most `MAX_LEARNT` pairs: the newest ones, and older ones evenly spread."""
    if len(pairs) <= MAX_LEARNT:
        return list(pairs)
    older, newest = pairs[:-N_NEWEST], pairs[-N_NEWEST:]
    n_older = MAX_LEARNT - N_NEWEST
    return [older[place * len(older) // n_older] for place in range(n_older)] + list(newest)
