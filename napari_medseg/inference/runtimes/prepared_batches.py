"""The prepared planes of one image, batch by batch; for a GPU the next batch is prepared while it computes."""

from concurrent.futures import Future, ThreadPoolExecutor

from napari_medseg.core.image import Image
from napari_medseg.core.model_card import ModelCard
from napari_medseg.inference.preprocess import PreparedImage, get_planes_shape, prepare


class PreparedBatches:
    """Prepares batches of an image in order; any other order works, too, without being ahead.

    Parameters
    ----------
    image, card
        As in `prepare`.
    is_ahead
        Whether the next batch is prepared in a thread. On a CPU it would take the cores of the network.
    """

    def __init__(self, image: Image, card: ModelCard, is_ahead: bool) -> None:
        self._image, self._card = image, card
        self._n_planes = get_planes_shape(image)[0]
        self._worker = ThreadPoolExecutor(1, "prepare planes") if is_ahead and self._n_planes > 1 else None
        self._next: tuple[tuple[int, int], Future[PreparedImage]] | None = None

    def get(self, first: int, n_planes: int) -> PreparedImage:
        """Return the planes from `first` on, at most `n_planes`, and begin to prepare as many behind them."""
        wanted, ready = (first, first + n_planes), self._next
        prepared = ready[1].result() if ready is not None and ready[0] == wanted else self._prepare(*wanted)
        self._next = None
        if self._worker is not None and first + n_planes < self._n_planes:
            behind = (first + n_planes, first + 2 * n_planes)
            self._next = (behind, self._worker.submit(self._prepare, *behind))
        return prepared

    def _prepare(self, first: int, stop: int) -> PreparedImage:
        return prepare(self._image, self._card, first, stop)
