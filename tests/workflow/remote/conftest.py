from collections.abc import Iterator
from pathlib import Path

import pytest

from napari_medseg.workflow.serving.jobs import JobDesk


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[JobDesk]:
    desk = JobDesk(tmp_path / "server")
    yield desk
    desk.close()
