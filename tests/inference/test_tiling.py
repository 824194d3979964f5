import numpy as np
import pytest

from napari_medseg.inference.tiling import compute_tile_spans


@pytest.mark.parametrize("length", [32, 768, 800, 1024, 1536, 2016, 4000, 4096, 10016])
@pytest.mark.parametrize(("longest", "overlap"), [(768, 128), (1024, 96), (256, 64), (128, 64)])
def test_pieces_cover_the_side_and_their_weights_sum_to_one(length: int, longest: int, overlap: int) -> None:
    pieces = compute_tile_spans(length, longest, overlap)
    total = np.zeros(length)
    for piece in pieces:
        assert piece.start % 32 == 0
        assert 0 < piece.stop - piece.start <= longest
        assert len(piece.weights) == piece.stop - piece.start
        total[piece.start : piece.stop] += piece.weights
    np.testing.assert_allclose(total, 1, atol=1e-6)
    assert (pieces[0].start, pieces[-1].stop) == (0, length)
    assert len({piece.stop - piece.start for piece in pieces}) == 1
    starts = [piece.start for piece in pieces]
    assert starts == sorted(set(starts))


def test_neighbours_share_the_overlap_and_hand_over_smoothly() -> None:
    left, right, *_ = compute_tile_spans(2016, 768, 128)
    assert left.stop - right.start >= 128 - 32
    assert left.weights[0] == 1
    assert left.weights[-1] < 1e-4
    assert right.weights[0] < 1e-4
    assert np.abs(np.diff(left.weights)).max() < 0.05


def test_a_side_that_fits_is_one_piece() -> None:
    (piece,) = compute_tile_spans(640, 768, 128)
    assert (piece.start, piece.stop) == (0, 640)
    assert (piece.weights == 1).all()
