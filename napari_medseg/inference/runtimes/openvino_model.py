"""A network as a model of OpenVINO: converted from torch in memory, and kept on disk, because that takes 2 seconds."""

import hashlib
import json
import logging
import os
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from napari_medseg.core.atomic_io import TEMPORARY_PREFIX, atomic_write_text, compute_file_sha256, make_temporary_path
from napari_medseg.core.errors import MedSegError, get_reason
from napari_medseg.inference.out_of_domain.features import find_encoder, list_feature_maps
from napari_medseg.inference.runtimes.runtime_names import get_openvino_version, get_program_version

if TYPE_CHECKING:
    import openvino

logger = logging.getLogger(__name__)

SMALLEST_SIDE_PX = 128
"""Networks that pad small planes decide so once, when they are converted: shorter planes stay with torch."""
EXAMPLE_SHAPE = (SMALLEST_SIDE_PX, SMALLEST_SIDE_PX + 32)
MAX_KEPT_MODELS = 12
"""Of 17 MB each for the U-Nets of this program."""
STALE_S = 3600.0
"""Age of an unfinished file whose process has ended."""
CONVERSION_FAILURES = (
    RuntimeError,
    ValueError,
    TypeError,
    AttributeError,
    KeyError,
    IndexError,
    AssertionError,
    OSError,
)
"""What torch and OpenVINO raise for a network that they cannot convert."""


def convert_network(network: nn.Module, in_channels: int, with_features: bool) -> "openvino.Model":
    """Convert a network in evaluation mode, for planes of any number and size.

    Parameters
    ----------
    network
        Maps (n, in_channels, h, w) to logits (n, classes, h, w), in fp32 on the CPU.
    in_channels
        Channels of a plane.
    with_features
        Whether the maps of the encoder follow the logits, for `FeaturePool.add_maps`.

    Raises
    ------
    MedSegError
        If torch or OpenVINO cannot convert it.
    """
    import openvino

    recorder = _MapRecorder(network) if with_features and find_encoder(network) is not None else None
    example = torch.zeros(1, in_channels, *EXAMPLE_SHAPE)
    try:
        with torch.no_grad():
            # Of constants in the trace: the result is compared with torch afterwards. For good, because the filters
            # are those of all threads, and restoring them here could undo what another one sets meanwhile.
            warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)  # type: ignore[attr-defined]
            warnings.filterwarnings("ignore", message=".*torch.jit.trace.* is deprecated", category=FutureWarning)
            traced = torch.jit.trace(recorder or network, example, check_trace=False)  # type: ignore[no-untyped-call]
            return _convert_trace(traced, openvino.PartialShape([-1, in_channels, -1, -1]))
    except CONVERSION_FAILURES as error:
        raise MedSegError(f"OpenVINO cannot compute {type(network).__name__}: {get_reason(error)[:200]}") from error
    finally:
        if recorder is not None:
            recorder.close()


def _convert_trace(traced: object, shape: "openvino.PartialShape") -> "openvino.Model":
    """Convert a traced network with one input; `openvino.convert_model` does the same in three times the time."""
    from openvino import Type
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    frontend = FrontEndManager().load_by_framework("pytorch")
    decoder = TorchScriptPythonDecoder(traced)  # a name of its own: it must live until the end of the conversion
    loaded = frontend.load(decoder)
    planes = loaded.get_inputs()[-1]
    loaded.set_partial_shape(planes, shape)
    loaded.set_element_type(planes, Type.f32)
    return frontend.convert(loaded)


class ModelFolder:
    """Converted models on disk; a damaged one is converted again. Several processes may use it at once.

    A model is known by `network`, which names weights and architecture, and by the versions of this program and of the
    libraries: the code of a network may change.

    Parameters
    ----------
    folder
        Created at the first write.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, network: str, with_features: bool) -> "openvino.Model | None":
        """Return a kept model; `None` if there is none that is whole."""
        import openvino

        files = self._name_files(network, with_features)
        try:
            sums = json.loads(files[2].read_text(encoding="utf-8"))
            if sums != [compute_file_sha256(file) for file in files[:2]]:
                raise ValueError("its checksum is wrong")
            model = openvino.Core().read_model(files[0], files[1])
            os.utime(files[0])  # those that are not used are dropped first
            return model
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RuntimeError) as error:
            logger.warning("the converted model %s is made again: %s", files[0].name, get_reason(error))
            return None

    def write(self, model: "openvino.Model", network: str, with_features: bool) -> None:
        """Keep a model; if the disk does not take it, it is converted again next time, which is logged."""
        import openvino

        xml, weights, sums = self._name_files(network, with_features)
        staged = make_temporary_path(xml)
        try:
            self._drop_oldest()
            sums.unlink(missing_ok=True)
            xml.parent.mkdir(parents=True, exist_ok=True)
            openvino.save_model(model, staged, compress_to_fp16=False)  # fp16 would change labels
            computed = [compute_file_sha256(file) for file in (staged, staged.with_suffix(".bin"))]
            staged.with_suffix(".bin").replace(weights)
            staged.replace(xml)
            atomic_write_text(sums, json.dumps(computed))
        except (OSError, RuntimeError, MedSegError) as error:
            logger.warning("the converted model %s is not kept: %s", xml.name, get_reason(error))

    def _drop_oldest(self) -> None:
        times = {xml: xml.stat().st_mtime for xml in self._folder.glob("*.xml")}
        models = [xml for xml in sorted(times, key=times.__getitem__) if not xml.name.startswith(TEMPORARY_PREFIX)]
        stale = [xml for xml, at in times.items() if xml not in models and time.time() - at > STALE_S]
        for xml in models[: max(0, len(models) + 1 - MAX_KEPT_MODELS)] + stale:
            _delete(xml)

    def _name_files(self, network: str, with_features: bool) -> tuple[Path, Path, Path]:
        about = f"{network} {with_features} {get_program_version()} {get_openvino_version()} {torch.__version__}"
        stem = hashlib.sha256(about.encode()).hexdigest()[:32]
        return self._folder / f"{stem}.xml", self._folder / f"{stem}.bin", self._folder / f"{stem}.sums.json"


def _delete(xml: Path) -> None:
    for file in (xml.with_suffix(".sums.json"), xml, xml.with_suffix(".bin")):
        file.unlink(missing_ok=True)


class _MapRecorder(nn.Module):
    """A network that also returns the feature maps of its encoder."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self._maps: list[Tensor] = []
        encoder = find_encoder(network)
        assert encoder is not None
        self._handle = encoder.register_forward_hook(self._record)

    def forward(self, planes: Tensor) -> tuple[Tensor, ...]:
        logits = self.network(planes)
        maps, self._maps = self._maps, []
        return logits, *maps

    def close(self) -> None:
        self._handle.remove()

    def _record(self, encoder: nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
        self._maps = list_feature_maps(output)
