"""TLS of a real scheduler: a client of the same authority is let in, one of another authority is not."""

import logging
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from napari_medseg.core.errors import MedSegError
from napari_medseg.workflow.cluster import connection
from napari_medseg.workflow.cluster.connection import ClusterChoice, open_cluster

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates by openssl")


def make_authority(folder: Path) -> ClusterChoice:
    """Make an authority, and a certificate of it for both ends; return them as options of a client."""
    folder.mkdir()
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    ca = [*new, "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem"]
    node = [*new, "-subj", "/CN=node", "-keyout", "node.key", "-out", "node.pem", "-CA", "ca.pem", "-CAkey", "ca.key"]
    for command in (ca, node):
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return ClusterChoice(0, "", None, folder / "ca.pem", folder / "node.pem", folder / "node.key")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> ClusterChoice:
    return make_authority(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module")
def address(authority: ClusterChoice) -> Iterator[str]:
    """A scheduler without workers, in this process."""
    from distributed import LocalCluster, Security

    cert, key = str(authority.tls_cert), str(authority.tls_key)
    ours = {"tls_scheduler_cert": cert, "tls_scheduler_key": key, "tls_client_cert": cert, "tls_client_key": key}
    security = Security(tls_ca_file=str(authority.tls_ca), require_encryption=True, **ours)
    options = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "silence_logs": logging.CRITICAL}
    with LocalCluster(n_workers=0, protocol="tls://", security=security, **options) as scheduler:
        yield scheduler.scheduler_address


def choose(address: str, certificates: ClusterChoice) -> ClusterChoice:
    return replace(certificates, scheduler=address)


def test_a_client_of_the_same_authority_is_let_in(address: str, authority: ClusterChoice) -> None:
    assert address.startswith("tls://127.0.0.1:")
    with open_cluster(choose(address, authority)) as cluster:
        assert cluster.count_threads() == 0


def test_clients_of_another_authority_are_not(
    address: str, authority: ClusterChoice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CONNECT_S", 0.5)
    other = make_authority(tmp_path / "theirs")
    stranger = replace(other, tls_ca=authority.tls_ca)  # trusts the scheduler, which does not trust it
    for choice in (other, stranger, ClusterChoice()):
        with pytest.raises(MedSegError, match="cannot be reached"), open_cluster(choose(address, choice)):
            pass
    plain = address.replace("tls://", "tcp://")
    with pytest.raises(MedSegError, match="both use the same protocol"), open_cluster(ClusterChoice(0, plain)):
        pass
