import numpy as np
import pytest

from napari_medseg.inference.remote.messages import ArraySpec, PayloadHeader, WireError
from napari_medseg.inference.remote.payload import (
    CHUNK_BYTES,
    SHUFFLED,
    STORED,
    ZSTANDARD,
    ArrayTarget,
    Chunk,
    PayloadReceiver,
    decode_chunk,
    encode_chunk,
    iterate_bytes,
    make_array_header,
)


def send(array: np.ndarray) -> np.ndarray:
    """Send an array through all that the wire does to it."""
    header, data = make_array_header("pixels", array)
    assert header.array is not None
    target = ArrayTarget(header.array)
    receiver = PayloadReceiver(PayloadHeader.model_validate_json(header.model_dump_json()), target)
    for piece in iterate_bytes(data):
        codec, packed = encode_chunk(piece, array.itemsize)
        receiver.take(Chunk(len(piece), codec, memoryview(bytes(packed))))
    receiver.check()
    return target.array


@pytest.mark.parametrize("dtype", ["|b1", "|u1", "|i1", "<i2", ">i2", "<u2", "<i4", ">u4", "<f4", ">f8", "<i8"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (1, 513, 1025), (5, 600, 300)])
def test_arrays_come_back_bit_by_bit(dtype: str, shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).integers(0, 250, shape).astype(dtype)
    back = send(values)
    np.testing.assert_array_equal(back, values)
    assert back.dtype == np.dtype(dtype).newbyteorder("<")


def test_floats_keep_their_bits_and_views_their_order() -> None:
    special = np.array([[np.nan, np.inf, -0.0, 1e-45]], np.float32)
    assert send(special).tobytes() == special.tobytes()
    turned = np.arange(24, dtype=np.int16).reshape(2, 3, 4)[::-1].transpose(2, 0, 1)
    np.testing.assert_array_equal(send(turned), turned)
    np.testing.assert_array_equal(send(np.asfortranarray(turned)), turned)


def test_ct_values_and_labels_shrink_and_noise_does_not_grow() -> None:
    smooth = (np.add.outer(np.arange(512), np.arange(512)) % 1000 - 500).astype("<i2")
    sizes = {}
    for name, array in (
        ("ct", smooth),
        ("labels", (smooth > 0).astype(np.uint8)),
        ("noise", np.frombuffer(np.random.default_rng(0).bytes(2**18), np.uint8)),
    ):
        data = memoryview(array.reshape(-1).view(np.uint8).data)[:CHUNK_BYTES]
        codec, packed = encode_chunk(data, array.itemsize)
        sizes[name] = (codec, len(packed) / len(data))
    assert sizes["ct"][0] == SHUFFLED
    assert sizes["ct"][1] < 0.3
    assert sizes["labels"][0] == ZSTANDARD
    assert sizes["labels"][1] < 0.1
    assert sizes["noise"] == (STORED, 1.0)


@pytest.mark.parametrize(
    "chunk",
    [
        Chunk(4, ZSTANDARD, memoryview(b"not compressed")),
        Chunk(4, SHUFFLED, memoryview(b"not compressed")),
        Chunk(4, 77, memoryview(b"abcd")),
        Chunk(4, STORED, memoryview(b"abc")),
        Chunk(4, STORED, memoryview(b"abcde")),
        Chunk(4, ZSTANDARD, memoryview(bytes(encode_chunk(bytes(100), 1)[1]))),
        Chunk(200, ZSTANDARD, memoryview(bytes(encode_chunk(bytes(100), 1)[1]))),
    ],
)
def test_damaged_parts_are_refused(chunk: Chunk) -> None:
    with pytest.raises(WireError):
        decode_chunk(chunk, 2)


def test_more_than_was_announced_is_refused_before_it_is_unpacked() -> None:
    spec = ArraySpec(shape=(10,), dtype="|u1")
    receiver = PayloadReceiver(PayloadHeader(name="x", n_bytes=10, sha256=64 * "0", array=spec), ArrayTarget(spec))
    for n_bytes in (0, 11, 2**31):
        with pytest.raises(WireError, match="longer than what was announced"):
            receiver.take(Chunk(n_bytes, 77, memoryview(b"x")))
    receiver.take(Chunk(10, STORED, memoryview(bytes(10))))
    with pytest.raises(WireError, match="damaged on the way"):
        receiver.check()
