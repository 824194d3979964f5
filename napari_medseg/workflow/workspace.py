"""The workspace: an open project, the model registry and the engine. Other modules of this package use it."""

import subprocess
from pathlib import Path
from typing import Self

import platformdirs

import napari_medseg
from napari_medseg.core.model_registry import BUNDLED_MODELS, ModelRegistry
from napari_medseg.core.project.database import DATABASE, Project
from napari_medseg.core.tasks.catalog import TASKS_FOLDER, TaskCatalog
from napari_medseg.inference.engine.interface import PredictionEngine
from napari_medseg.workflow.case_images.problems import ImageProblems
from napari_medseg.workflow.learning.states import AdaptedStates
from napari_medseg.workflow.remote.engine_choice import choose_engine
from napari_medseg.workflow.second_reader.current_reader import CurrentReader
from napari_medseg.workflow.second_reader.selection import SecondReadings

PACKAGE_DIR = Path(napari_medseg.__file__).parent
APP_NAME = "napari-medseg"


def get_user_data_dir() -> Path:
    """Return the folder of the default project and registry."""
    return platformdirs.user_data_path(APP_NAME, appauthor=False)


class Workspace:
    """Project, registry and engine of a window or a command. Use project and registry only in the opening thread.

    Parameters
    ----------
    project, registry
        Open project, closed with the workspace, and model registry.
    engine
        Not started yet; it is started by the first user of it.
    samples
        Folder of the bundled samples with `replay.json`.

    Notes
    -----
    `reader` is the person who works now, and `second_readings` decides what that person may see of a case.
    `image_problems` are the cases whose image is known to be missing or damaged.
    `adapted` holds the adapted states of learning at Accept, which are off until a window turns them on.
    `tasks` is the catalog of all tasks; `workflow.tasks.custom_tasks.reload_tasks` replaces it.
    """

    def __init__(
        self,
        project: Project,
        registry: ModelRegistry,
        engine: PredictionEngine,
        samples: Path = PACKAGE_DIR / "samples",
    ) -> None:
        self.project = project
        self.registry = registry
        self.engine = engine
        self.reader = CurrentReader(project.identities, registry)
        self.second_readings = SecondReadings(project, self.reader)
        self.samples = samples
        self.adapted = AdaptedStates(project.folder)
        self.image_problems = ImageProblems()
        self.tasks: TaskCatalog = registry.read_task_catalog(project.folder / TASKS_FOLDER)
        # Child processes: an ended child stays visible as a process until its parent polls it.
        self.child_processes: dict[str, subprocess.Popen[bytes]] = {}

    @classmethod
    def open_default(cls) -> Self:
        """Open the project and registry in the user's data folder; create them if they do not exist."""
        return cls.open(get_user_data_dir() / "project", get_user_data_dir() / "registry")

    @classmethod
    def open(cls, project_dir: Path, registry_dir: Path) -> Self:
        """Open a project with the bundled models; create the project if the folder has none.

        Raises
        ------
        MedSegError
            If the project is open elsewhere, damaged, newer than this program, or its folder is not writable.
        """
        exists = (project_dir / DATABASE).is_file()
        project = Project.open(project_dir) if exists else Project.create(project_dir)
        registry = ModelRegistry(registry_dir, BUNDLED_MODELS)
        return cls(project, registry, choose_engine(registry))

    def close(self) -> None:
        """Stop the engine and close the project. A training run continues, because it needs neither."""
        self.engine.close()
        self.project.close()
