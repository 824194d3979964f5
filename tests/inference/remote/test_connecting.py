import pytest

from napari_medseg.inference.remote.address import parse_address
from napari_medseg.inference.remote.connecting import _explain_status
from napari_medseg.inference.remote.messages import LinkLost, RemoteRefused


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, RemoteRefused), (404, RemoteRefused), *[(status, LinkLost) for status in (429, 500, 502, 503, 504)]],
)
def test_what_a_proxy_says_while_the_server_starts_again_is_a_lost_link(status: int, kind: type[Exception]) -> None:
    assert type(_explain_status(parse_address("ws://127.0.0.1:1"), status)) is kind
