"""Two worker processes that all tests of the folder share: their start takes seconds."""

from collections.abc import Iterator

import pytest
from cluster_phantoms import open_fake_cluster

from napari_medseg.workflow.cluster.connection import Cluster


@pytest.fixture(scope="package")
def cluster() -> Iterator[Cluster]:
    with open_fake_cluster() as opened:
        yield opened
