"""Orders of the list of cases, computed for all cases at once, because the window waits for them.

`CaseOrder.USEFUL` takes one case of every group (patient, slide, video) before a second of any, because images of one
patient are alike and teach less; a group of which cases were accepted comes after the groups without one. Then come
images that are unlike those that the model learnt from, because it may be wrong on them without being unsure; then
those with the highest uncertainty per plane, as each plane takes about the same time to correct; then those without a
prediction. Equal cases follow in the order of import.
"""

import hashlib
import zlib
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.workflow.meter.kinds import describe_kind

if TYPE_CHECKING:  # preferences, which a workspace reads, know the orders
    from napari_medseg.workflow.cases import CaseRow

STATES = ("new", "predicted", "draft", "accepted", "rejected")
ACCEPTED, REJECTED, DRAFT = (STATES.index(state) for state in ("accepted", "rejected", "draft"))
RANDOM_SEED = 0
"""Part of what is hashed for the random order: it is the same in every session and on every computer."""

Places = NDArray[np.intp]
Features = NDArray[np.void]


class CaseOrder(StrEnum):
    """In which order cases are listed and opened."""

    USEFUL = "useful"
    LISTED = "listed"
    OLDEST_DRAFT = "oldest_draft"
    HARDEST = "hardest"
    RANDOM = "random"


ORDER_TITLES = {
    CaseOrder.USEFUL: "most useful first",
    CaseOrder.LISTED: "as listed",
    CaseOrder.OLDEST_DRAFT: "oldest draft first",
    CaseOrder.HARDEST: "hardest first",
    CaseOrder.RANDOM: "random",
}
ORDER_EXPLANATIONS = {
    CaseOrder.USEFUL: "One case of every patient, slide or video before a second of any; unlike images first, then the "
    "highest uncertainty per minute of work",
    CaseOrder.LISTED: "In the order in which the images were added",
    CaseOrder.OLDEST_DRAFT: "Drafts that were begun first, then the others as they were added",
    CaseOrder.HARDEST: "Unlike images first, then the highest uncertainty of the model",
    CaseOrder.RANDOM: "Shuffled; the order is the same each time",
}
RANKED_ORDERS = (CaseOrder.USEFUL, CaseOrder.HARDEST)
"""Orders by merit: the first case is always the best one to open next."""

FEATURES = np.dtype(
    [
        *(("id", np.int64), ("group", np.int64), ("state", np.int8), ("held_out", np.bool_), ("unlike", np.bool_)),
        *(("uncertainty", np.float64), ("planes", np.int64), ("drafted_s", np.float64), ("shuffled", np.uint64)),
        *(("correction", np.int64), ("seconds", np.float64), ("imported", np.bool_)),
        *(("kind", "U32"), ("version", np.uint32)),
        *(("flagged", np.bool_), ("read_twice", np.bool_), ("no_image", np.bool_)),
    ]
)
"""What orders, filters and forecast need of a case. `uncertainty` is NaN without a prediction, `drafted_s` without a
review. `version` is a checksum of the model version that made the draft of the correction; 0 without one."""


def extract_features(row: "CaseRow", group: int) -> tuple[Any, ...]:
    """Return the features of a row; `group` is a number for its group."""
    case, correction = row.case, row.correction
    digest = hashlib.blake2b(f"{RANDOM_SEED}{case.content_hash}".encode(), digest_size=8).digest()
    return (
        *(case.id, group, STATES.index(row.state), case.held_out, row.is_unlike),
        np.nan if row.uncertainty is None else row.uncertainty,
        count_planes(row),
        np.nan if row.review is None else datetime.fromisoformat(row.review.opened).timestamp(),
        int.from_bytes(digest),
        *((0, 0.0, False) if correction is None else (correction.id, correction.seconds, bool(correction.imported))),
        *(describe_kind(case), 0 if correction is None else zlib.crc32(correction.model.encode())),
        *(row.is_flagged, row.is_read_twice, row.image_problem is not None),
    )


def collect_features(rows: Sequence["CaseRow"]) -> Features:
    """Return the features of rows, in their order."""
    groups: dict[str, int] = {}
    found = [extract_features(row, groups.setdefault(row.case.group, len(groups))) for row in rows]
    return np.array(found, FEATURES)


def count_planes(row: "CaseRow") -> int:
    """Return how many planes an image has."""
    return row.case.shape[0] if row.case.axes.startswith("Z") else 1


def is_decided(features: Features) -> NDArray[np.bool_]:
    """Return which cases were accepted or rejected."""
    return np.asarray((features["state"] == ACCEPTED) | (features["state"] == REJECTED))


def sort_places(features: Features, order: CaseOrder) -> Places:
    """Return the places of all cases in an order. Decided cases come last, except as listed and at random."""
    number = features["id"]
    if order is CaseOrder.LISTED:
        return np.argsort(number)
    if order is CaseOrder.RANDOM:
        return np.lexsort((number, features["shuffled"]))
    decided = is_decided(features)
    if order is CaseOrder.OLDEST_DRAFT:
        begun = np.where(features["state"] == DRAFT, features["drafted_s"], np.inf)
        return np.lexsort((number, begun, decided))
    unpredicted = np.isnan(features["uncertainty"])
    if order is CaseOrder.HARDEST:
        return np.lexsort((number, -features["uncertainty"], ~features["unlike"], unpredicted, decided))
    benefit = -features["uncertainty"] / features["planes"]
    own = (number, benefit, ~features["unlike"], unpredicted)
    return np.lexsort((*own, _count_before_in_group(features, decided, own), decided))


def _count_before_in_group(features: Features, decided: NDArray[np.bool_], own: tuple[Any, ...]) -> NDArray[np.int64]:
    """Return how many cases of its group come before each case: those accepted, and better ones that are undecided."""
    group = features["group"]
    n_before = np.zeros(len(features), np.int64)
    if not len(features):
        return n_before
    ranked = np.lexsort((*own, group, decided))[: np.count_nonzero(~decided)]
    begins = np.flatnonzero(np.diff(group[ranked], prepend=-1))
    n_before[ranked] = np.arange(len(ranked)) - np.repeat(begins, np.diff(begins, append=len(ranked)))
    n_accepted = np.bincount(group[features["state"] == ACCEPTED], minlength=int(group.max()) + 1)
    return np.asarray(n_before + n_accepted[group])
