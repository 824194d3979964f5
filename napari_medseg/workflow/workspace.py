"""The composition root: an open project, the registry of models, the engine. The verbs lie in the modules beside."""

import subprocess
from pathlib import Path
from typing import Self

import platformdirs

import napari_medseg
from napari_medseg.core.model_registry import BUNDLED_MODELS, ModelRegistry
from napari_medseg.core.project.database import DATABASE, Project
from napari_medseg.core.task_catalog import TASKS_FOLDER, TaskCatalog
from napari_medseg.inference.engine.client import Engine, PredictionEngine

PACKAGE_DIR = Path(napari_medseg.__file__).parent
APP_NAME = "napari-medseg"


def get_user_data_dir() -> Path:
    """Folder of the default project and registry."""
    return platformdirs.user_data_path(APP_NAME, appauthor=False)


class Workspace:
    """What a window or a command works with. Its project and registry belong to the thread that opened it.

    Parameters
    ----------
    project, registry
        Open; closed with the workspace.
    engine
        Not started: whoever predicts starts it.
    samples
        Folder of the bundled samples with `replay.json`.

    Notes
    -----
    `tasks` is the book of all tasks here; `workflow.own_tasks` puts another one in its place.
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
        self.samples = samples
        self.tasks: TaskCatalog = registry.read_task_catalog(project.folder / TASKS_FOLDER)
        # Our own children, as an ended child stays visible as a process until its parent has asked for it.
        self.child_processes: dict[str, subprocess.Popen[bytes]] = {}

    @classmethod
    def open_default(cls) -> Self:
        """Open the project and registry in the user's data folder; made where missing."""
        return cls.open(get_user_data_dir() / "project", get_user_data_dir() / "registry")

    @classmethod
    def open(cls, project_dir: Path, registry_dir: Path) -> Self:
        """Open a project, or make it where the folder holds none, over the bundled models.

        Raises
        ------
        MedSegError
            If the project is open elsewhere, damaged, newer than this program, or its folder cannot be written.
        """
        exists = (project_dir / DATABASE).is_file()
        project = Project.open(project_dir) if exists else Project.create(project_dir)
        return cls(project, ModelRegistry(registry_dir, BUNDLED_MODELS), Engine())

    def close(self) -> None:
        """End the engine and let go of the project. A training run goes on: it needs neither."""
        self.engine.close()
        self.project.close()
