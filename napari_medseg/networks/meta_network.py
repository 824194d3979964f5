"""Build the network of a card without memory for its weights, to compare it with a file of weights before any is taken.

On PyTorch's meta device a tensor has a shape but no values. So a card with a wrong number is refused at once, and no
random weights are drawn that those of the file would replace.
"""

import contextlib
import threading
from collections.abc import Callable, Container, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode

from napari_medseg.core.errors import MedSegError

# A network may build more than it keeps: an encoder's classifier (VGG's has 120 million weights), or a first layer for
# three channels.
_SPARE_FACTOR, _SPARE_TENSORS, _SPARE_ELEMENTS = 4, 2_000, 250_000_000


_DRAW: Container[object] = {nn.init.kaiming_normal_, nn.init.kaiming_uniform_, Tensor.normal_, Tensor.uniform_}
"""What constructors draw random weights with; on the meta device they take most of the time and change nothing."""


class _OnMeta(TorchFunctionMode):
    """Draws no random weights. Transformers read their drop rates from a `linspace`, which therefore needs values."""

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        given = kwargs or {}
        tensor = args[0] if args else given.get("tensor")
        if func in _DRAW and isinstance(tensor, Tensor) and tensor.is_meta:
            return tensor
        on_cpu = {"device": "cpu"} if func is torch.linspace else {}
        return func(*args, **(on_cpu | given))


def build_on_meta(build: Callable[[], nn.Module]) -> nn.Module | None:
    """Build a network whose tensors have no values; `None` if its constructor fails, perhaps because it needs values.

    Raises
    ------
    MedSegError
        If `limit_growth` stops it, or the architecture is not known.
    """
    try:
        with torch.device("meta"), _OnMeta():
            return build()
    except MedSegError as error:
        if error.__cause__ is None:
            raise
        return None  # with memory it is built, or says why not


@contextlib.contextmanager
def limit_growth(weights: Mapping[str, Tensor], source: str) -> Iterator[None]:
    """Stop the construction of a network that becomes far larger than its weights, before its memory is written to.

    Tensors on the meta device take no memory, so of those only the number is limited.

    Raises
    ------
    MedSegError
        From the constructor of the network.
    """
    max_tensors = _SPARE_FACTOR * len(weights) + _SPARE_TENSORS
    max_elements = _SPARE_FACTOR * sum(tensor.numel() for tensor in weights.values()) + _SPARE_ELEMENTS
    thread, n_tensors, n_elements = threading.get_ident(), 0, 0

    def count(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal n_tensors, n_elements
        if parameter is None or threading.get_ident() != thread:
            return
        n_tensors += 1
        n_elements += 0 if parameter.is_meta else parameter.numel()
        if n_tensors > max_tensors or n_elements > max_elements:
            raise MedSegError(
                f"the weights of {source} do not fit its card: the network would be far larger than its "
                f"{len(weights)} tensors. Use the architecture that they were trained with."
            )

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()


def can_assign(network: nn.Module) -> bool:
    """Whether weights of a file make a network on the meta device whole.

    They do not if the network keeps tensors that are not in its files, such as the position indices of a Swin
    transformer: those are computed by its constructor, and have no values on the meta device.
    """
    saved = network.state_dict(keep_vars=True)
    if any(name not in saved for name, _ in network.named_buffers()):
        return False
    if len({id(tensor) for tensor in saved.values()}) < len(saved):  # tied weights would be separated
        return False
    return not any(_holds_tensor(value) for part in network.modules() for value in vars(part).values())


def _holds_tensor(value: object) -> bool:
    if isinstance(value, list | tuple):
        return any(_holds_tensor(item) for item in value)
    return isinstance(value, Tensor)
