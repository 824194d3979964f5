import asyncio

import pytest
from pydantic import SecretStr

from napari_medseg.workflow.remote.server_link import ServerLink
from napari_medseg.workflow.remote.server_settings import ServerSettings


@pytest.mark.parametrize("fault", ["slow", "broken"])
def test_a_link_that_does_not_close_makes_no_failure(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    monkeypatch.setattr("napari_medseg.workflow.remote.server_link.END_S", 0.1)

    async def close() -> None:
        if fault == "broken":
            raise OSError("broken pipe")
        await asyncio.sleep(60)

    with ServerLink(ServerSettings(address="ws://127.0.0.1:1", token=SecretStr("secret"))) as link:
        monkeypatch.setattr(link, "_close", close)
    assert not link._thread.is_alive()
