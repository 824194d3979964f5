"""What is told of an import, and what is opened after it."""

from collections import Counter
from collections.abc import Sequence

from napari_medseg.plugin.controllers.worklist import Worklist
from napari_medseg.plugin.widgets.notifications import show_problem, show_result
from napari_medseg.workflow.masks.import_masks import ImportOutcome, OutcomeState

IMPORT_TOPIC = "import of masks"
MAX_REASONS = 4
_WORDS: dict[OutcomeState, str] = {
    "draft": "imported as drafts",
    "accepted": "accepted",
    "second reading": "imported as second readings",
    "already there": "there already",
}


def show_outcomes(outcomes: Sequence[ImportOutcome], worklist: Worklist) -> None:
    """Say what became of the cases of an import, and open the first one."""
    counts = Counter(outcome.state for outcome in outcomes)
    if parts := [f"{counts[state]} {text}" for state, text in _WORDS.items() if counts[state]]:
        show_result(f"Masks: {', '.join(parts)}", topic=IMPORT_TOPIC)
    if refused := [f"{one.name}: {one.text}" for one in outcomes if one.state == "refused"]:
        more = f"\nand {len(refused) - MAX_REASONS} more" if len(refused) > MAX_REASONS else ""
        show_problem("Not imported:\n" + "\n".join(refused[:MAX_REASONS]) + more)
    first = next((outcome.case for outcome in outcomes if outcome.case is not None), None)
    if first is not None:
        worklist.open(first)
