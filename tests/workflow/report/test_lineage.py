"""Where versions stand in the graph."""

from napari_medseg.core.model_card import Architecture, Lineage, ModelCard, Preprocessing
from napari_medseg.workflow.report.lineage import MAX_VERSIONS, STEP_X_PX, STEP_Y_PX, draw_lineage


def make_card(version: int, parent: int | None = None) -> ModelCard:
    return ModelCard(
        name="lungs-unet",
        version=version,
        task="lungs",
        architecture=Architecture(name="Unet", in_channels=1, classes=3),
        preprocessing=Preprocessing(),
        lineage=Lineage(parent=f"lungs-unet@{parent}" if parent else None, created=f"2026-01-{version % 28 + 1:02d}"),
    )


def test_each_version_stands_below_its_parent() -> None:
    graph = draw_lineage([make_card(1), make_card(2, 1), make_card(3, 1), make_card(4, 2)], "lungs-unet@4", ())
    at = {box.title: (box.x // STEP_X_PX, box.y // STEP_Y_PX) for box in graph.boxes}
    assert at == {"lungs-unet@1": (0, 0), "lungs-unet@2": (0, 1), "lungs-unet@3": (1, 1), "lungs-unet@4": (0, 2)}
    assert len(graph.lines) == 3
    assert [box.title for box in graph.boxes if box.is_live] == ["lungs-unet@4"]


def test_missing_parents_circles_and_many_versions_are_drawn() -> None:
    assert [box.x for box in draw_lineage([make_card(5, 4)], "", ()).boxes] == [2]
    circle = draw_lineage([make_card(1, 2), make_card(2, 1), make_card(3, 3)], "", ())
    assert len(circle.boxes) <= 3
    many = draw_lineage([make_card(n, n - 1 or None) for n in range(1, 101)], "", ())
    assert len(many.boxes) + many.n_left_out == 100
    assert len(many.boxes) <= MAX_VERSIONS
    assert draw_lineage([], "", ()).boxes == []
