"""The images that a new task can have: counted when the form opens, read when they are chosen."""

from plugin_phantoms import phantom

from napari_medseg.core.records import Case
from napari_medseg.plugin.forms.new_task import list_image_choices
from napari_medseg.workflow import cases
from napari_medseg.workflow.tasks.assignment import remove_from_list, use_for_task
from napari_medseg.workflow.workspace import Workspace


def test_each_set_of_images_is_offered_once_and_read_only_when_it_is_chosen(ws: Workspace) -> None:
    made = cases.add_cases(ws, [phantom(number) for number in range(5)], "lungs")
    lungs, covid = (ws.tasks.get_task(name) for name in ("lungs", "covid"))

    def offered(current: Case | None, dropped: list[Case], task: object = lungs) -> dict[str, int]:
        return {text: len(read()) for text, read in list_image_choices(ws, current, dropped, task)}

    assert list(offered(made[0], made).values()) == [1, 5, 0], "drop, list and project are the same five"
    assert list(offered(None, made[:2])) == [
        "2 images of the last drop",
        "5 images on the list of Lungs (CT, X-ray)",
        "none yet: I will drop some",
    ]
    use_for_task(ws, made[:1], "covid")
    remove_from_list(ws, made[4:])
    assert offered(None, [], covid) == {
        "1 image on the list of COVID-19 lesions (CT)": 1,
        "5 images of the project": 5,
        "none yet: I will drop some": 0,
    }
    assert offered(None, [])["4 images on the list of Lungs (CT, X-ray)"] == 4


def test_an_empty_project_offers_nothing(ws: Workspace) -> None:
    assert not list_image_choices(ws, None, [], ws.tasks.get_task("lungs"))
