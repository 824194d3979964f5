"""What is offered when a project opens: to go on with the last draft, or with the list."""

from collections.abc import Callable

from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.controllers.worklist import Worklist
from napari_medseg.plugin.widgets.inline_prompt import InlinePrompt
from napari_medseg.workflow import review
from napari_medseg.workflow.workspace import Workspace


def offer_to_continue(workspace: Workspace, worklist: Worklist, desk: CaseController, prompt: InlinePrompt) -> None:
    """Offer to continue the most recent draft, or else the list of open cases; nothing while a case is open.

    The offer goes when a case is opened: the person has chosen, and the list needs the space.
    """
    drafts, n_waiting = review.list_draft_cases(workspace), worklist.case_list.counts.n_undecided
    if desk.current is not None or not (drafts or n_waiting):
        return
    answers: list[tuple[str, Callable[[], None]]]
    if drafts:
        more = f" and {len(drafts) - 1} more" if len(drafts) > 1 else ""
        text = f"Unfinished draft: {drafts[0].name}{more}. All strokes were saved."
        answers = [("Continue it", lambda: worklist.open(drafts[0]))]
    else:
        text = "1 case is not reviewed yet." if n_waiting == 1 else f"{n_waiting:,} cases are not reviewed yet."
        answers = [("Continue", worklist.open_next)]
    prompt.ask_lasting(text, [*answers, ("Not now", lambda: None)])
    desk.opened.connect(lambda: prompt.withdraw(text))
