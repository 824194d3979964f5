"""Which function serves which kind of order."""

from napari_medseg.inference.remote.messages import PredictOrder
from napari_medseg.workflow.serving.prediction import serve_prediction
from napari_medseg.workflow.serving.session import Handler

HANDLERS: dict[type, Handler] = {PredictOrder: serve_prediction}
"""By the class of the order. A further one is added here and to `Order` in `inference.remote.messages`."""
