import pytest
from pydantic import ValidationError

from napari_medseg.inference.engine.protocol import (
    ArrayRef,
    CancelRequest,
    EventReply,
    PredictRequest,
    ReadyReply,
    decode_reply,
    decode_request,
    encode_message,
)
from napari_medseg.inference.events import PredictionNotice, PredictionProgress


def test_messages_are_one_line_and_come_back_as_they_were() -> None:
    ref = ArrayRef(name="psm_1", shape=(3, 4), dtype="<i2")
    request = PredictRequest(
        id=3,
        pixels=ref,
        axes="YX",
        spacing_mm=(0.7, 0.7),
        units="HU",
        image_name="über\nlang",
        version_folder="/models/1",
        labels=ref,
        uncertainty_map=None,
    )
    for message in (request, CancelRequest(id=3)):
        line = encode_message(message)
        assert line.count(b"\n") == 1
        assert decode_request(line) == message
    events = (
        PredictionProgress(1, 2, "slice 1 of 2", 0.5),
        PredictionProgress(0, 1, "", None),
        PredictionNotice("über"),
    )
    for reply in (ReadyReply(device="CPU"), *(EventReply(id=3, event=event) for event in events)):
        assert decode_reply(encode_message(reply)) == reply


def test_an_unknown_word_is_an_error() -> None:
    with pytest.raises(ValidationError):
        decode_request(b'{"kind": "cancel", "id": 1, "hurry": true}')
    with pytest.raises(ValidationError):
        decode_reply(b'{"kind": "gossip"}')
