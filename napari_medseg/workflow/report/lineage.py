"""The versions of a task as a graph: each below its parent, a second child of a parent in a column of its own."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from napari_medseg.core.model_card import ModelCard

BOX_WIDTH_PX, BOX_HEIGHT_PX = 196, 46
STEP_X_PX, STEP_Y_PX = 212, 74
MAX_VERSIONS = 60
"""The newest ones are drawn."""


@dataclass(frozen=True)
class VersionBox:
    """A version: upper left corner in pixels, its name, a line below it, and whether it is live."""

    x: int
    y: int
    title: str
    text: str
    is_live: bool


@dataclass(frozen=True)
class LineageGraph:
    """Boxes, and lines (x1, y1, x2, y2) from parents to children; `n_left_out` older versions are not drawn."""

    width_px: int
    height_px: int
    boxes: Sequence[VersionBox]
    lines: Sequence[tuple[int, int, int, int]]
    n_left_out: int = 0


def draw_lineage(cards: Sequence[ModelCard], live: str, made_here: Collection[str]) -> LineageGraph:
    """Place versions on a grid.

    Parameters
    ----------
    cards
        Versions of one task. A version whose parent is not among them begins a column.
    live
        Id of the live version.
    made_here
        Ids of the versions that runs of this project made.
    """
    shown = sorted(cards, key=lambda card: (card.lineage.created, card.name, card.version))[-MAX_VERSIONS:]
    known = {card.id: card for card in shown}
    children: dict[str, list[ModelCard]] = {}
    for card in shown:
        parent = card.lineage.parent or ""
        children.setdefault(parent if parent in known and parent != card.id else "", []).append(card)
    places: dict[str, tuple[int, int]] = {}
    n_columns = 0
    waiting = [(card, 0, -1) for card in reversed(children.get("", []))]
    while waiting:
        card, row, column = waiting.pop()
        if card.id in places:
            continue
        if column < 0:
            column, n_columns = n_columns, n_columns + 1
        places[card.id] = (column, row)
        own = children.get(card.id, [])
        waiting += [(child, row + 1, column if child is own[0] else -1) for child in reversed(own)]
    boxes = [_make_box(known[model], places[model], live, made_here) for model in places]
    lines = [
        _connect(places[card.lineage.parent], places[card.id])
        for card in shown
        if card.id in places and card.lineage.parent in places and card.lineage.parent != card.id
    ]
    n_rows = max((row for _, row in places.values()), default=-1) + 1
    height = max(0, n_rows * STEP_Y_PX - (STEP_Y_PX - BOX_HEIGHT_PX) + 4)
    return LineageGraph(n_columns * STEP_X_PX, height, boxes, lines, len(cards) - len(boxes))


def _make_box(card: ModelCard, place: tuple[int, int], live: str, made_here: Collection[str]) -> VersionBox:
    origin = f"{card.lineage.n_corrections} corrections" if card.id in made_here else "made elsewhere"
    text = " · ".join(filter(None, (card.lineage.created[:10], origin)))
    return VersionBox(place[0] * STEP_X_PX + 2, place[1] * STEP_Y_PX + 2, card.id, text, card.id == live)


def _connect(parent: tuple[int, int], child: tuple[int, int]) -> tuple[int, int, int, int]:
    middle = BOX_WIDTH_PX // 2 + 2
    return (
        parent[0] * STEP_X_PX + middle,
        parent[1] * STEP_Y_PX + 2 + BOX_HEIGHT_PX,
        child[0] * STEP_X_PX + middle,
        child[1] * STEP_Y_PX + 2,
    )
