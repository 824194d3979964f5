"""A model card as a page that a person reads: what it learnt from, how good it is, where it comes from."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QTextBrowser, QVBoxLayout, QWidget

from napari_medseg.core.model_card import WORST_CASE_FILE, ModelCard, Score

SIZE_PX = (790, 640)
SCORE_WIDTHS_PX = (140, 115, 175, 55, 85, 190)
DATA_WIDTHS_PX = (180, 70, 70, 260, 180)


def render_card_html(card: ModelCard, folder: Path | None = None) -> str:
    """Lay a card out as HTML for Qt's rich text; `folder` of the version holds the picture of its worst case."""
    parts = [
        f"<h2>{escape(card.id)}</h2>",
        f"<p>Task: {escape(card.task)}. Network: {escape(_describe_network(card))}.<br>"
        f"Licence: {escape(card.licence or 'not said')}.</p>",
        "<h3>How good it is on cases it never saw</h3>",
        _render_scores(card),
        _render_calibration(card),
        "<h3>What it learnt from</h3>",
        _render_training_data(card),
        _render_list("Known weaknesses", card.weaknesses),
        _render_worst_case(folder),
        "<h3>How an image is prepared, and labels are cleaned</h3>",
        _render_processing_steps(card),
        "<h3>Where it comes from</h3>",
        _render_lineage(card),
    ]
    return "\n".join(parts)


def summarise_card(card: ModelCard) -> str:
    """Say the most important of a card in one tooltip."""
    lines = [f"<b>{escape(card.id)}</b>"]
    for score in card.hold_out[:3]:
        swaps = "no swapped sides" if not score.swapped_sides else f"{score.swapped_sides} swapped sides"
        lines.append(
            f"{escape(score.dataset)}: {escape(score.metric)} {score.mean:.3f}, worst {score.worst:.3f} "
            f"({score.n_images} images, {swaps})"
        )
    if card.training_data:
        lines.append("learnt from " + escape(", ".join(source.name for source in card.training_data)))
    if card.lineage.parent:
        lines.append(f"from {escape(card.lineage.parent)} and {card.lineage.n_corrections} corrections")
    lines.append("Click (i) for the whole card.")
    return "<br>".join(lines)


class ModelCardDialog(QDialog):
    """A window beside napari's with one card; it blocks nothing."""

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


def _describe_network(card: ModelCard) -> str:
    made_of = card.architecture
    return f"{made_of.name} {made_of.encoder}".strip()


def _render_scores(card: ModelCard) -> str:
    if not card.hold_out:
        return "<p>No hold-out figure is on this card.</p>"
    rows = [_make_score_row(score) for score in card.hold_out]
    head = ("hold-out", "images", "mean and 95 %", "worst", "swapped", "labels by")
    return _render_table(head, rows, SCORE_WIDTHS_PX) + _render_label_scores(card)


def _make_score_row(score: Score) -> tuple[str, ...]:
    return (
        f"{score.dataset} ({score.metric})",
        f"{score.n_images} of {score.n_groups} groups",
        f"{score.mean:.3f} ({score.ci_low:.3f} to {score.ci_high:.3f})",
        f"{score.worst:.3f}",
        str(score.swapped_sides),
        score.labels_by,
    )


def _render_label_scores(card: ModelCard) -> str:
    texts = [
        f"{score.dataset}: " + ", ".join(f"{name} {value:.3f}" for name, value in score.per_label.items())
        for score in card.hold_out
        if score.per_label
    ]
    return "".join(f"<p>{escape(text)}</p>" for text in texts)


def _render_calibration(card: ModelCard) -> str:
    calibration = card.calibration
    if calibration.ece is None or calibration.ece_uncorrected is None:
        return f"<p>Temperature {calibration.temperature:.2f}; not measured on a hold-out.</p>"
    return (
        f"<p>Expected calibration error {calibration.ece:.3f} on {calibration.n_images} hold-out images, over pixels "
        f"that the model or the reference labels ({calibration.ece_uncorrected:.3f} before the temperature of "
        f"{calibration.temperature:.2f}).</p>"
    )


def _render_worst_case(folder: Path | None) -> str:
    if folder is None or not (folder / WORST_CASE_FILE).exists():
        return ""
    place = escape((folder / WORST_CASE_FILE).as_uri())
    return (
        "<p>Its worst hold-out case, reference left, labels right "
        "(without the image where its licence forbids it):</p>"
        f"<p><img src='{place}'></p>"
    )


def _render_processing_steps(card: ModelCard) -> str:
    numbers = card.preprocessing
    facts = [
        f"a CT from {numbers.hu_low:.0f} to {numbers.hu_high:.0f} HU; other pictures between their "
        f"{numbers.percentile_low} and {numbers.percentile_high} percentiles",
        f"longer side of {numbers.min_side_px} to {numbers.max_side_px} px",
        f"looks into the field of the task {card.field.task}" if card.field else "",
        "tells objects apart by a watershed of their expected depth" if card.instances else "",
        *(
            f"{step.name.replace('_', ' ')} ({', '.join(f'{name} {value}' for name, value in step.options.items())})"
            for step in card.postprocessing
        ),
    ]
    return "<ul>" + "".join(f"<li>{escape(fact)}</li>" for fact in facts if fact) + "</ul>"


def _render_training_data(card: ModelCard) -> str:
    if not card.training_data:
        return "<p>The card does not say.</p>"
    rows = [
        (source.name, str(source.n_images), str(source.groups), source.labels, source.licence)
        for source in card.training_data
    ]
    return _render_table(("source", "images", "groups", "labels", "licence"), rows, DATA_WIDTHS_PX)


def _render_lineage(card: ModelCard) -> str:
    lineage = card.lineage
    facts = [
        f"parent: {lineage.parent or 'none, a base model'}",
        f"began with {lineage.began_with}" if lineage.began_with else "",
        f"{lineage.n_corrections} corrections, seed {lineage.seed}",
        f"made {lineage.created[:16].replace('T', ' ')}" if lineage.created else "",
        f"promoted because: {lineage.promotion_reason}" if lineage.promotion_reason else "",
        f"run {lineage.run}" if lineage.run else "",
        f"code {lineage.code_version}" if lineage.code_version else "",
        f"weights {card.weights_sha256[:12]}" if card.weights_sha256 else "",
    ]
    return "<ul>" + "".join(f"<li>{escape(fact)}</li>" for fact in facts if fact) + "</ul>"


def _render_list(title: str, texts: list[str]) -> str:
    if not texts:
        return ""
    return f"<h3>{escape(title)}</h3><ul>" + "".join(f"<li>{escape(text)}</li>" for text in texts) + "</ul>"


def _render_table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], widths_px: tuple[int, ...]) -> str:
    cells = "".join(
        f"<th align='left' width='{width}'>{escape(name)}</th>" for name, width in zip(head, widths_px, strict=True)
    )
    lines = ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    return f"<table cellspacing='0' cellpadding='4'><tr>{cells}</tr>{''.join(lines)}</table>"
