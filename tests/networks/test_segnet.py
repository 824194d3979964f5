import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_medseg.networks import build_network, parse_architecture
from napari_medseg.networks.precision import choose_autocast_dtype
from napari_medseg.networks.segnet import ENCODERS, SegNet


@pytest.fixture
def network() -> SegNet:
    """A network that normalises by the batch at hand, as in training: its layers keep the scale of what passes."""
    torch.manual_seed(0)
    return SegNet("vgg11_bn", 1, 2).train()


def forward_by_hand(network: SegNet, planes: Tensor, *, keep_positions: bool) -> Tensor:
    """SegNet's computation layer by layer; without positions, pooled values go to the top left of their window."""
    features, positions = planes, []
    for layer in network.encoder.features:
        if isinstance(layer, nn.MaxPool2d):
            height, width = features.shape[-2:]
            top_left = (torch.arange(0, height, 2)[:, None] * width + torch.arange(0, width, 2)).expand(
                *features.shape[:2], -1, -1
            )
            features, where = functional.max_pool2d(features, 2, 2, return_indices=True)
            positions.append(where if keep_positions else top_left.contiguous())
        else:
            features = layer(features)
    for stage in network.decoder:
        features = stage(functional.max_unpool2d(features, positions.pop(), 2))
    return network.head(features)


@torch.inference_mode()
def test_the_decoder_uses_the_positions_that_pooling_found(network: SegNet) -> None:
    planes = torch.randn(2, 1, 64, 64)
    answer = network(planes)
    torch.testing.assert_close(answer, forward_by_hand(network, planes, keep_positions=True))
    without = forward_by_hand(network, planes, keep_positions=False)
    assert float((answer - without).abs().mean()) > 0.05 * float(answer.abs().mean())


@torch.inference_mode()
def test_nothing_but_positions_and_the_coarsest_features_reaches_the_decoder(network: SegNet) -> None:
    """Two planes with the same pooled maxima in other places: only their positions can make the answers differ."""
    network.encoder.eval()
    for layer in network.encoder.features:  # an encoder that passes planes through: all that it does is pooling
        if isinstance(layer, nn.Conv2d):
            nn.init.dirac_(layer.weight)
            nn.init.zeros_(layer.bias)
    left, right = torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, 32, 32)
    left[..., 8, 8], right[..., 9, 9] = 1.0, 1.0
    coarse = [network.encoder(plane)[-1] for plane in (left, right)]
    torch.testing.assert_close(coarse[0], coarse[1])
    assert not torch.allclose(network(left), network(right), rtol=0.01)


@pytest.mark.parametrize("encoder", [ENCODERS[0], "vgg16_bn", ENCODERS[-1]])
def test_the_decoder_mirrors_the_encoder(encoder: str) -> None:
    network = SegNet(encoder, 1, 2)
    convolutions = [layer for layer in network.encoder.features if isinstance(layer, nn.Conv2d)]
    mirrored = [layer for stage in network.decoder for layer in stage if isinstance(layer, nn.Conv2d)]
    assert len(mirrored) == len(convolutions)
    widths = [layer.out_channels for layer in convolutions]
    assert [layer.in_channels for layer in mirrored] == widths[::-1]


@pytest.mark.parametrize(("dtype", "n_steps"), [(torch.float32, 6), (torch.bfloat16, 2)])
def test_it_learns_where_a_square_is(dtype: torch.dtype, n_steps: int) -> None:
    if dtype is torch.bfloat16 and choose_autocast_dtype(torch.device("cpu"), "bf16") is None:
        pytest.skip("this CPU would emulate bf16, ten times as slowly")
    torch.manual_seed(0)
    network = build_network(parse_architecture("segnet:vgg11_bn", 1, 2)).to(memory_format=torch.channels_last).train()
    labels = torch.zeros(2, 40, 40, dtype=torch.long)
    labels[0, 8:24, 8:24] = labels[1, 20:36, 12:30] = 1
    planes = labels[:, None].float() + 0.1 * torch.randn(2, 1, 40, 40)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)
    losses = []
    for _ in range(n_steps):
        with torch.autocast("cpu", dtype, enabled=dtype is torch.bfloat16):
            loss = functional.cross_entropy(network(planes).float(), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < (0.5 if n_steps > 2 else 0.9) * losses[0]
