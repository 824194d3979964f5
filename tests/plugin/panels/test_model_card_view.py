"""Pages of the window about names that want to be HTML: they are shown as they are."""

from pathlib import Path

from plugin_phantoms import phantom_card
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QTextBrowser

from napari_medseg.core.model_card import WORST_CASE_FILE, ModelCard
from napari_medseg.plugin.keymap import KeyBinding, KeyHelpDialog
from napari_medseg.plugin.panels.model_card_view import ModelCardDialog, summarise_card

HOSTILE = "<script>alert(\"1\")</script> & <img src=x onerror='alert(2)'>"


def hostile_card() -> ModelCard:
    card = phantom_card(3, licence=HOSTILE, weaknesses=[HOSTILE])
    score = card.hold_out[0].model_copy(update={"dataset": HOSTILE, "labels_by": HOSTILE, "per_label": {HOSTILE: 0.5}})
    source = card.training_data[0].model_copy(update={"name": HOSTILE, "labels": HOSTILE, "licence": HOSTILE})
    lineage = card.lineage.model_copy(update={"parent": HOSTILE, "promotion_reason": HOSTILE})
    return card.model_copy(update={"hold_out": [score], "training_data": [source], "lineage": lineage})


def test_hostile_names_on_a_card(qtbot: QtBot, tmp_path: Path) -> None:
    folder = tmp_path / "a <b> & 'c'"
    folder.mkdir()
    (folder / WORST_CASE_FILE).touch()
    window = ModelCardDialog(hostile_card(), folder)
    qtbot.addWidget(window)
    page = window.findChild(QTextBrowser)
    # licence, weakness, data set, who labelled, label and its data set; name, labels and licence; parent and reason
    assert page.toPlainText().count(HOSTILE) == 11
    assert page.toHtml().count("<img") == 1, "the picture of the worst case"
    assert (folder / WORST_CASE_FILE).as_uri() in page.toHtml().replace("&amp;", "&")


def test_hostile_names_in_a_tooltip(qtbot: QtBot) -> None:
    page = QTextBrowser()
    qtbot.addWidget(page)
    page.setHtml(summarise_card(hostile_card()))
    assert page.toPlainText().count(HOSTILE) == 3, "data set, what it learnt from, parent"
    assert "<img" not in page.toHtml()


def test_hostile_words_on_the_page_of_keys(qtbot: QtBot) -> None:
    window = KeyHelpDialog([KeyBinding("<", HOSTILE, lambda: None)])
    qtbot.addWidget(window)
    page = window.findChild(QTextBrowser)
    assert HOSTILE in page.toPlainText()
    assert "swap the label with the background" in page.toPlainText()
