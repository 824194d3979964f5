import threading
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from dicom_files import noise, write_slice
from napari.components import ViewerModel
from plugin_phantoms import Texts, drop_of, phantom, write_phantom
from pydicom.uid import SegmentationStorage
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QWidget

from napari_medseg.core.formats import ReadFailure, ReadNote, ReadProgress, read_images
from napari_medseg.core.image import Image
from napari_medseg.plugin.drops import image_importer, searched_drop
from napari_medseg.plugin.drops.image_importer import ImageImporter
from napari_medseg.plugin.reader_writer import make_layer_data
from napari_medseg.plugin.sample_data import SAMPLES
from napari_medseg.plugin.widgets import worker

CT = sorted((SAMPLES / "ct_a0001" / "dicom").glob("*.dcm"))


def kinds(paths: list[Path]) -> tuple[list[Image], list[str]]:
    items = list(read_images(paths))
    images = [item for item in items if isinstance(item, Image)]
    return images, [item.text for item in items if isinstance(item, ReadFailure)]


def test_slices_of_one_series_are_one_volume_whatever_their_order() -> None:
    images, refused = kinds([CT[3], CT[0], CT[2], CT[1]])
    assert not refused
    assert [image.pixels.shape[0] for image in images] == [4]


def test_slices_picked_here_and_there_are_read_one_by_one() -> None:
    images, refused = kinds([CT[0], CT[1], CT[7]])
    assert not refused
    assert [image.axes for image in images] == ["YX"] * 3
    assert sorted(image.name for image in images) == sorted(path.stem for path in (CT[0], CT[1], CT[7]))


def test_a_folder_with_a_slice_missing_is_no_volume_and_says_where(tmp_path: Path) -> None:
    for path in (CT[0], CT[1], CT[2], CT[4]):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    images, refused = kinds([tmp_path])
    assert not images
    assert CT[2].name in refused[0]
    assert CT[4].name in refused[0]


def test_what_cannot_be_used_is_one_text_each_and_the_rest_is_read(tmp_path: Path) -> None:
    truncated = tmp_path / "truncated.dcm"
    truncated.write_bytes(CT[0].read_bytes()[:2000])
    (tmp_path / "empty.png").touch()
    (tmp_path / "words.tif").write_text("no image at all")
    good = write_phantom(tmp_path, 1)
    images, refused = kinds([truncated, tmp_path / "empty.png", tmp_path / "words.tif", good])
    assert [image.name for image in images] == ["case1"]
    assert len(refused) == 3
    assert all(name in " ".join(refused) for name in ("truncated.dcm", "empty.png", "words.tif"))


def test_a_folder_is_read_and_one_without_images_says_so(tmp_path: Path) -> None:
    for number in range(3):
        write_phantom(tmp_path / "some", number)
    images, _ = kinds([tmp_path / "some"])
    assert len(images) == 3
    (tmp_path / "none").mkdir()
    images, refused = kinds([tmp_path / "none"])
    assert not images
    assert "holds no image" in refused[0]
    assert "does not exist" in kinds([tmp_path / "gone"])[1][0]


def test_a_segmentation_in_a_folder_is_skipped_with_a_note(tmp_path: Path) -> None:
    write_phantom(tmp_path, 1)
    write_slice(tmp_path / "seg.dcm", noise((4, 4)), Modality="SEG", SOPClassUID=SegmentationStorage)
    items = list(read_images([tmp_path]))
    assert [item.text for item in items if isinstance(item, ReadNote)] == [
        "DICOM without an image was skipped: seg.dcm (SEG): Segmentation Storage."
    ]
    assert [item.name for item in items if isinstance(item, Image)] == ["case1"]
    assert not kinds([tmp_path])[1]


def test_remarks_on_a_batch_are_shown_once(arrivals: ImageImporter, tmp_path: Path, qtbot: QtBot) -> None:
    shown = Texts()
    arrivals.image_imported.connect(lambda image, layer: arrivals.add_notes(["By its values it is a CT."]))
    with qtbot.waitSignal(arrivals.finished):
        arrivals.read([write_phantom(tmp_path, number) for number in range(2)])
    assert list(shown) == ["By its values it is a CT. (2 images)"]


def test_reading_says_how_far_it_is(tmp_path: Path) -> None:
    paths = [write_phantom(tmp_path, number) for number in range(2)]
    said = [(item.number, item.total) for item in read_images(paths) if isinstance(item, ReadProgress)]
    assert said == [(1, 2), (2, 2)]


@pytest.fixture
def arrivals(qtbot: QtBot) -> ImageImporter:
    return ImageImporter(ViewerModel())


def heard(arrivals: ImageImporter) -> list[tuple[Image, object]]:
    images: list[tuple[Image, object]] = []
    arrivals.image_imported.connect(lambda image, layer: images.append((image, layer)))
    return images


def test_a_real_drop_event_is_taken_and_read(arrivals: ImageImporter, tmp_path: Path, qtbot: QtBot) -> None:
    canvas = QWidget()
    qtbot.addWidget(canvas)
    images = heard(arrivals)
    arrivals.watch_drops([canvas])
    event, _mime = drop_of(write_phantom(tmp_path, 1), write_phantom(tmp_path, 2))
    with qtbot.waitSignal(arrivals.finished):
        assert arrivals.eventFilter(canvas, event)
    assert [image.name for image, _ in images] == ["case1", "case2"]
    assert event.isAccepted()


def test_a_slide_and_a_picture_without_a_suffix_are_taken_as_on_the_command_line(
    arrivals: ImageImporter, tmp_path: Path, qtbot: QtBot
) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (16, 16, 3)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.svs", pixels, photometric="rgb", description="Aperio x|MPP = 0.25", metadata=None)
    plain = write_phantom(tmp_path, 1)
    images = heard(arrivals)
    event, _mime = drop_of(tmp_path / "a.svs", plain.rename(tmp_path / "no_suffix"))
    with qtbot.waitSignal(arrivals.finished):
        assert arrivals.eventFilter(None, event)
    assert [image.name for image, _ in images] == ["a", "no_suffix"]
    assert images[0][0].spacing_mm == (0.00025, 0.00025)


def test_a_folder_of_another_plugin_is_left_to_napari(arrivals: ImageImporter, tmp_path: Path) -> None:
    (tmp_path / "cells.zarr").mkdir()
    (tmp_path / "cells.zarr" / "zarr.json").write_text("{}")
    event, _mime = drop_of(tmp_path / "cells.zarr")
    assert not arrivals.eventFilter(None, event)


def test_what_we_cannot_read_is_left_to_napari(arrivals: ImageImporter, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("a,b")
    event, _mime = drop_of(tmp_path / "table.csv")
    assert not arrivals.eventFilter(None, event)
    assert not arrivals.eventFilter(None, QEvent(QEvent.Type.MouseMove))


def test_layers_of_the_reader_arrive_in_one_batch(arrivals: ImageImporter, qtbot: QtBot) -> None:
    images = heard(arrivals)
    with qtbot.waitSignal(arrivals.finished):
        for number in range(3):
            data, arguments, _ = make_layer_data(phantom(number))
            arrivals._viewer.add_image(data, **arguments)
    assert [image.name for image, _ in images] == ["slice 0", "slice 1", "slice 2"]
    assert [layer for _, layer in images] == list(arrivals._viewer.layers)


def test_single_slices_of_a_series_become_one_volume(arrivals: ImageImporter, qtbot: QtBot) -> None:
    images = heard(arrivals)
    with qtbot.waitSignal(arrivals.finished):
        for path in (CT[1], CT[0], CT[2]):
            for image in read_images([path]):
                if isinstance(image, Image):
                    data, arguments, _ = make_layer_data(image)
                    arrivals._viewer.add_image(data, **arguments)
    assert [image.pixels.shape[0] for image, _ in images] == [3]
    assert len(arrivals._viewer.layers) == 0


def test_other_layers_are_no_arrivals_and_existing_ones_are_adopted(qtbot: QtBot) -> None:
    viewer = ViewerModel()
    data, arguments, _ = make_layer_data(phantom())
    ours = viewer.add_image(data, **arguments)
    viewer.add_image(np.zeros((4, 4)))
    arrivals = ImageImporter(viewer)
    images = heard(arrivals)
    arrivals.import_existing_layers()
    assert [layer for _, layer in images] == [ours]


def test_cancel_does_not_wait_for_the_file_that_is_being_read(
    tmp_path: Path, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, go_on = threading.Event(), threading.Event()

    def read_slowly(*_: object) -> Generator[Image]:
        yield phantom(0)
        reading.set()
        go_on.wait()
        yield phantom(1)

    monkeypatch.setattr(image_importer, "read_found", read_slowly)
    importer = ImageImporter(ViewerModel())
    heard: list[str] = []
    importer.image_imported.connect(lambda image, _layer: heard.append(image.name))
    importer.finished.connect(lambda: heard.append("finished"))
    importer.read([tmp_path])
    qtbot.waitUntil(lambda: reading.is_set() and len(heard) == 1, timeout=20_000)
    importer.cancel()
    assert not importer.is_reading
    go_on.set()
    qtbot.wait(50)
    assert heard == [phantom(0).name, "finished"]
    importer.close()


def split_slowly(
    go_on: threading.Event, threads: list[str]
) -> Callable[[Sequence[Path]], Generator[ReadProgress | list[Path]]]:
    def split(paths: Sequence[Path]) -> Generator[ReadProgress | list[Path]]:
        threads.append(threading.current_thread().name)
        yield ReadProgress(1, len(paths), paths[0].name)
        go_on.wait(60)
        yield list(paths)

    return split


def test_masks_are_looked_for_in_a_thread_and_drops_keep_their_order(tmp_path: Path, qtbot: QtBot) -> None:
    importer, go_on, threads = ImageImporter(ViewerModel()), threading.Event(), []
    importer.set_mask_finder(split_slowly(go_on, threads), lambda found, _paths: found, lambda _image: False)
    names, progress, ended = [], [], []
    importer.image_imported.connect(lambda image, _layer: names.append(image.name))
    importer.progressed.connect(progress.append)
    importer.finished.connect(lambda: ended.append(1))
    first = [write_phantom(tmp_path / "in", number) for number in (3, 1, 2)]
    importer.read(first)
    importer.read([write_phantom(tmp_path / "in", 4)])
    assert importer.is_reading
    assert not progress, "nothing was opened in the thread of the window"
    qtbot.waitUntil(lambda: bool(progress))
    assert (progress[0].number, progress[0].total) == (1, 3)
    go_on.set()
    qtbot.waitUntil(lambda: len(ended) == 2)
    assert [name for name in names if name != "case4"] == ["case3", "case1", "case2"]
    assert "case4" in names
    assert set(threads) == {"medseg-worker"}
    assert not importer.is_reading
    importer.close()


def test_a_drop_of_masks_only_ends_without_an_image(tmp_path: Path, qtbot: QtBot) -> None:
    importer, go_on = ImageImporter(ViewerModel()), threading.Event()
    importer.set_mask_finder(split_slowly(go_on, []), lambda _found, _paths: [], lambda _image: False)
    go_on.set()
    with qtbot.waitSignal(importer.finished):
        importer.read([write_phantom(tmp_path / "in", 1)])
    assert not importer.is_reading
    importer.close()


@pytest.mark.parametrize("end", ["cancel", "close"])
def test_the_end_while_masks_are_looked_for_is_safe(tmp_path: Path, qtbot: QtBot, end: str) -> None:
    importer, go_on, taken = ImageImporter(ViewerModel()), threading.Event(), []

    def take_masks(found: list[Path], _paths: Sequence[Path]) -> list[Path]:
        taken.append("masks")
        return found

    importer.set_mask_finder(split_slowly(go_on, []), take_masks, lambda _image: False)
    importer.image_imported.connect(lambda image, _layer: taken.append(image))
    importer.read([write_phantom(tmp_path / "in", 1)])
    importer.read([write_phantom(tmp_path / "in", 2)])
    getattr(importer, end)()
    assert not importer.is_reading
    go_on.set()
    qtbot.wait(80)
    assert taken == []
    if end == "cancel":
        with qtbot.waitSignal(importer.finished):
            importer.read([write_phantom(tmp_path / "in", 3)])
        assert len(taken) == 2, "the next drop is read as ever"
        importer.close()


def test_reading_waits_while_the_window_has_images_to_add(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def read_quickly(*_: object) -> Generator[Image]:
        for number in range(40):
            made.append(number)
            yield phantom(number)

    monkeypatch.setattr(image_importer, "read_found", read_quickly)
    monkeypatch.setattr(searched_drop, "search_images", lambda _paths: SimpleNamespace(sources=[], asks_which=False))
    importer = ImageImporter(ViewerModel())
    seen: list[tuple[int, int]] = []
    importer.image_imported.connect(lambda _image, _layer: seen.append((len(seen), len(made))))
    with qtbot.waitSignal(importer.finished):
        importer.read_as_images([Path("anywhere")])
    assert len(seen) == 40
    assert max(n_made - n_seen for n_seen, n_made in seen) <= worker.MAX_WAITING + 2
    importer.close()
