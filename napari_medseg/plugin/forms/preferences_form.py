"""The preferences form."""

from collections.abc import Callable, Sequence
from inspect import Parameter, Signature
from typing import Literal, get_origin

from magicgui import magicgui
from magicgui.widgets import FunctionGui
from qtpy.QtWidgets import QAbstractSpinBox

from napari_medseg.inference.device_status import DeviceStatus
from napari_medseg.plugin.forms.export_form import EXPORT_FORMATS
from napari_medseg.plugin.forms.retrain_form import TIME_BUDGETS
from napari_medseg.workflow.preferences import MAX_MEMORY_GB, Preferences
from napari_medseg.workflow.second_reader.current_reader import clean_name

READER_TOOLTIP = (
    "Your name, or your account if none is given.\n"
    "It stays here and in one table of the project; exports say 'reader 2'.\n"
    "Another name is another person, who may have second readings to do"
)
DEVICE_WIDGET = {"label": "Device", "tooltip": "Predicts and retrains. `medseg doctor` tests every device"}
RUNTIME_WIDGET = {
    "label": "Runtime on a CPU",
    "choices": [("the fastest that was measured", "auto"), ("torch", "torch"), ("OpenVINO", "openvino")],
    "tooltip": "What predicts without a GPU, from the next start. `medseg doctor` shows what was measured",
}
SHOWN = (
    "predict_automatically",
    "budget_s",
    "export_suffix",
    "export_with_images",
    "read_medical_files",
    "device",
    "runtime",
    "max_memory_gb",
    "reader",
)
"""The preferences of the form, from top to bottom."""
FASTEST_DEVICE = ("the fastest one that computes", "")


def make_preferences_form(
    save: Callable[[Preferences], None], preferences: Preferences, devices: Sequence[DeviceStatus] = ()
) -> FunctionGui:
    """Make the form with the current preferences and the devices; it calls `save` with the new ones."""

    def save_preferences(**chosen: object) -> None:
        others = preferences.model_dump()  # they are set elsewhere
        reader = _name_reader(str(chosen["reader"]), preferences)
        save(Preferences.model_validate(others | chosen | reader))

    save_preferences.__signature__ = _make_signature()  # type: ignore[attr-defined]
    form = magicgui(
        save_preferences,
        call_button=False,
        predict_automatically={"text": "predict what I drop", "value": preferences.predict_automatically},
        budget_s={"label": "Retrain", "choices": TIME_BUDGETS, "value": preferences.budget_s},
        export_suffix={"label": "Export as", "choices": EXPORT_FORMATS, "value": preferences.export_suffix},
        export_with_images={"text": "write images beside labels", "value": preferences.export_with_images},
        read_medical_files={
            "text": "open DICOM and NIfTI files with MedSeg",
            "value": preferences.read_medical_files,
            "tooltip": "Only if napari has no other preference for these files (Preferences > Plugins)",
        },
        device={**DEVICE_WIDGET, "choices": _list_choices(devices, preferences.device), "value": preferences.device},
        runtime={**RUNTIME_WIDGET, "value": preferences.runtime},
        reader={"label": "Who corrects", "value": preferences.reader, "tooltip": READER_TOOLTIP},
        max_memory_gb={
            "label": "Largest image (GB)",
            "value": preferences.max_memory_gb,
            "min": 0.0,
            "max": MAX_MEMORY_GB,
            "step": 1.0,
            "tooltip": "Memory that the pixels of one image may take; larger images are refused before they are read.\n"
            "0: a quarter of the free memory, and 200 times the size of the file",
        },
    )
    _show_zero_as_automatic(form.max_memory_gb.native)
    return form


def _make_signature() -> Signature:
    """Return what magicgui makes fields of: the preferences of the form, with their types.

    Of a `Literal`, magicgui would list the values, not the titles of the choices.
    """
    types = {name: Preferences.model_fields[name].annotation for name in SHOWN}
    plain = {name: str if get_origin(kind) is Literal else kind for name, kind in types.items()}
    return Signature([Parameter(name, Parameter.KEYWORD_ONLY, annotation=kind) for name, kind in plain.items()])


def _show_zero_as_automatic(spin_box: QAbstractSpinBox) -> None:
    spin_box.setSpecialValueText("automatic")


def _name_reader(name: str, preferences: Preferences) -> dict[str, str]:
    """Return the name that was typed; empty if it is as it was shown, so that an old form switches nobody back."""
    typed = clean_name(name) if name.strip() else ""
    return {"reader": "" if typed == preferences.reader else typed}


def _list_choices(devices: Sequence[DeviceStatus], chosen: str) -> list[tuple[str, str]]:
    """Return the devices by title and name; a chosen one that this computer lacks stays until another is chosen."""
    choices = [FASTEST_DEVICE, *((device.title, device.name) for device in devices)]
    is_known = any(name == chosen for _, name in choices)
    return choices if is_known else [*choices, (f"{chosen} (not found)", chosen)]
