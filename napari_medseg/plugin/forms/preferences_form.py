"""The preferences form."""

from collections.abc import Callable

from magicgui import magicgui
from magicgui.widgets import FunctionGui

from napari_medseg.plugin.forms.export_form import EXPORT_FORMATS
from napari_medseg.plugin.forms.retrain_form import TIME_BUDGETS
from napari_medseg.workflow.preferences import MAX_MEMORY_GB, Preferences


def make_preferences_form(save: Callable[[Preferences], None], preferences: Preferences) -> FunctionGui:
    """Make the form with the current preferences; it calls `save` with the new ones."""

    def save_preferences(
        predict_automatically: bool,
        budget_s: float,
        export_suffix: str,
        export_with_images: bool,
        read_files: bool,
        max_memory_gb: float,
    ) -> None:
        save(
            Preferences(
                predict_automatically=predict_automatically,
                budget_s=budget_s,
                export_suffix=export_suffix,
                export_with_images=export_with_images,
                read_medical_files=read_files,
                max_memory_gb=max_memory_gb,
            )
        )

    return magicgui(
        save_preferences,
        call_button=False,
        predict_automatically={
            "text": "predict what I drop",
            "value": preferences.predict_automatically,
        },
        budget_s={"label": "Retrain", "choices": TIME_BUDGETS, "value": preferences.budget_s},
        export_suffix={"label": "Export as", "choices": EXPORT_FORMATS, "value": preferences.export_suffix},
        export_with_images={"text": "write images beside labels", "value": preferences.export_with_images},
        read_files={
            "text": "open DICOM and NIfTI files with MedSeg",
            "value": preferences.read_medical_files,
            "tooltip": "Only if napari has no other preference for these files (Preferences > Plugins)",
        },
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
