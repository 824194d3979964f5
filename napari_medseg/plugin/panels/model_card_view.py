"""A model card as a readable page: scores, training data, processing and origin."""

from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QTextBrowser, QVBoxLayout, QWidget

from napari_medseg.core.html_templates import render_html
from napari_medseg.core.model_card import WORST_CASE_FILE, ModelCard, Score

SIZE_PX = (790, 640)
TEMPLATES = "napari_medseg.plugin"
SCORE_WIDTHS_PX = {
    "hold-out": 140,
    "images": 115,
    "mean and 95 %": 175,
    "worst": 55,
    "swapped": 85,
    "labels by": 190,
}
DATA_WIDTHS_PX = {"source": 180, "images": 70, "groups": 70, "labels": 260, "licence": 180}


def render_card_html(card: ModelCard, folder: Path | None = None) -> str:
    """Return a card as HTML for Qt rich text. `folder` is that of the version, with the figure of its worst case."""
    values = {
        "card": card,
        "score_columns": SCORE_WIDTHS_PX,
        "scores": [_make_score_row(score) for score in card.hold_out],
        "label_scores": _describe_label_scores(card),
        "data_columns": DATA_WIDTHS_PX,
        "sources": [
            (source.name, source.n_images, source.groups, source.labels, source.licence)
            for source in card.training_data
        ],
        "worst_case": _find_worst_case(folder),
        "processing_steps": _describe_processing_steps(card),
        "lineage": _describe_lineage(card),
    }
    return render_html(TEMPLATES, "model_card.html", values)


def summarise_card(card: ModelCard) -> str:
    """Return a short summary of a card for a tooltip."""
    return render_html(TEMPLATES, "model_summary.html", {"card": card})


class ModelCardDialog(QDialog):
    """A non-modal window with one model card."""

    def __init__(self, card: ModelCard, folder: Path | None = None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(f"Model card of {card.id}")
        page = QTextBrowser(self)
        page.setOpenExternalLinks(True)
        page.setHtml(render_card_html(card, folder))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(page)
        self.resize(*SIZE_PX)


def _make_score_row(score: Score) -> tuple[str, ...]:
    return (
        f"{score.dataset} ({score.metric})",
        f"{score.n_images} of {score.n_groups} groups",
        f"{score.mean:.3f} ({score.ci_low:.3f} to {score.ci_high:.3f})",
        f"{score.worst:.3f}",
        str(score.swapped_sides),
        score.labels_by,
    )


def _describe_label_scores(card: ModelCard) -> list[str]:
    return [
        f"{score.dataset}: " + ", ".join(f"{name} {value:.3f}" for name, value in score.per_label.items())
        for score in card.hold_out
        if score.per_label
    ]


def _find_worst_case(folder: Path | None) -> str:
    """Return the URI of the worst-case figure; empty if there is none."""
    if folder is None or not (folder / WORST_CASE_FILE).exists():
        return ""
    return (folder / WORST_CASE_FILE).as_uri()


def _describe_processing_steps(card: ModelCard) -> list[str]:
    """Return one text per processing step; empty texts for steps that the card does not use."""
    numbers = card.preprocessing
    return [
        f"a CT from {numbers.hu_low:.0f} to {numbers.hu_high:.0f} HU; other images between their "
        f"{numbers.percentile_low} and {numbers.percentile_high} percentiles",
        f"longer side of {numbers.min_side_px} to {numbers.max_side_px} px",
        f"predicts inside the region of interest of the task {card.field.task}" if card.field else "",
        "separates touching objects by a watershed on their predicted depth" if card.instances else "",
        *(
            f"{step.name.replace('_', ' ')} ({', '.join(f'{name} {value}' for name, value in step.options.items())})"
            for step in card.postprocessing
        ),
    ]


def _describe_lineage(card: ModelCard) -> list[str]:
    """Return one line per item; empty lines for items that the card does not have."""
    lineage = card.lineage
    return [
        f"parent: {lineage.parent or 'none, a base model'}",
        f"initial weights: {lineage.began_with}" if lineage.began_with else "",
        f"{lineage.n_corrections} corrections, seed {lineage.seed}",
        f"made {lineage.created[:16].replace('T', ' ')}" if lineage.created else "",
        f"promoted because: {lineage.promotion_reason}" if lineage.promotion_reason else "",
        f"run {lineage.run}" if lineage.run else "",
        f"code {lineage.code_version}" if lineage.code_version else "",
        f"weights {card.weights_sha256[:12]}" if card.weights_sha256 else "",
    ]
