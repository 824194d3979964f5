"""A click network for lesions or instruments against an ideal dab: is it worth shipping? (Research.)

The network is that of the task, `covid-unet` or another one (`--live`). The present mask and maps of positive and
negative clicks enter the first layer of its encoder through a convolution that starts at zero, so that it is the
task's model as long as nothing is learnt. It learns from masks that are empty, damaged truth, or the live model's own
predictions, with up to three clicks on the largest error, half of them at its centre and half anywhere in its inner
half. The loss is the normalised focal loss (Sofiiuk et al., 2019) and Dice, weighted near the newest click. A click
is computed on 256 px around it, and only the changed piece that contains it is kept.

`python benchmarks/click_network.py RUN_DIR --out FOLDER --steps 200` trains on the training images of a run folder
(`base_model --prepare` makes it) and then measures on hold-out images: Dice after 0, 1, 2, 3, 5 and 10 clicks from the
live model's predictions, beside the ideal dab, which is a disc of the best radius at the centre of the largest error.
All is measured on the network's grid, in the box around the lungs of the reference. `--report` only measures.

The predictions from which a quarter of the lessons start are those of the live model, which has seen these images; they
are not out-of-fold, as they should be.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from click_simulation import (
    Click,
    Mask,
    compute_mask_dice,
    dab,
    damage,
    draw_clicks,
    keep_clicked_piece,
    place_click,
)
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

import napari_medseg
from napari_medseg.core import formats
from napari_medseg.core.snapshot import Role, SnapshotItem, read_snapshot
from napari_medseg.inference.preprocess import prepare, prepare_labels
from napari_medseg.inference.roi import compute_roi_box, crop_image
from napari_medseg.networks import load_version
from training.run_folder import SNAPSHOT_FILE

LIVE = Path(napari_medseg.__file__).parent / "models" / "covid-unet" / "2"
CROP_PX = 256
N_CLICKS = (0, 1, 2, 3, 5, 10)
GOAL = 0.85
WEIGHTS = "click_network.safetensors"
EMPTY_SHARE, DAMAGED_SHARE = 0.25, 0.5
FOCUS = 2.0
NEAR_PX, NEAR_WEIGHT = 30.0, 4.0
"""Pixels within about `NEAR_PX` of the newest click weigh up to 1 + `NEAR_WEIGHT`."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """An image on the network's grid: plane (c, h, w), truth (h, w) and the live model's mask (h, w)."""

    name: str
    plane: NDArray[np.float32]
    truth: Mask
    draft: Mask


class ClickNetwork(nn.Module):
    """A network with an encoder that is also shown a mask and clicks."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        first = next(layer for layer in network.get_submodule("encoder").modules() if isinstance(layer, nn.Conv2d))
        self.hints = nn.Conv2d(3, first.out_channels, 3, first.stride, 1, bias=False)
        nn.init.zeros_(self.hints.weight)
        self._added: Tensor | None = None
        first.register_forward_hook(self._add_hints)

    def _add_hints(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output if self._added is None else output + self._added

    def forward(self, planes: Tensor, hints: Tensor) -> Tensor:
        """Return the logit (n, h, w) of any label, from planes (n, c, h, w) and mask and clicks (n, 3, h, w)."""
        self._added = self.hints(hints)
        logits = self.network(planes)
        self._added = None
        return logits[:, 1:].logsumexp(dim=1) - logits[:, 0]


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is missing, then measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--live", type=Path, default=LIVE, help="folder of the task's model")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--source", default="ct20", help="source of the images, or `all`")
    parser.add_argument("--every", type=int, default=4, help="every n-th hold-out image is measured")
    parser.add_argument("--report", action="store_true", help="train nothing")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    network, _ = load_version(options.live)
    clicking = ClickNetwork(network.eval())
    options.out.mkdir(parents=True, exist_ok=True)
    weights = options.out / WEIGHTS
    if not weights.exists() and not options.report:
        train(clicking, read_lessons(options, Role.TRAIN), options)
        save_file(clicking.state_dict(), weights)
    if weights.exists():
        clicking.load_state_dict(load_file(weights))
    judged = read_lessons(options, Role.HOLD_OUT)[:: options.every]
    table = {name: [follow(step, lesson) for lesson in judged] for name, step in list_ways(clicking.eval()).items()}
    (options.out / "clicks.json").write_text(json.dumps(table), encoding="utf-8")
    print(format_table(table))


def read_lessons(options: argparse.Namespace, role: Role) -> list[Lesson]:
    """Read the images of a role on which something is labelled."""
    network, card = load_version(options.live)
    items = read_snapshot(options.run_dir / SNAPSHOT_FILE).filter_by_role(role)
    margin = 0.0 if card.field is None else card.field.margin

    def read(item: SnapshotItem) -> Lesson:
        image = formats.read(Path(item.image))
        stored = formats.read_labels(options.run_dir / item.labels, image)
        if item.field_labels:
            box = compute_roi_box(formats.read_labels(Path(item.field_labels), image), margin)
            image, stored = crop_image(image, box), np.ascontiguousarray(stored[box])
        prepared = prepare(image, card)
        with torch.inference_mode():
            logits = network.eval()(torch.from_numpy(np.ascontiguousarray(prepared.planes)))[0]
        height, width = prepared.plane_shape
        draft = (logits[1:].logsumexp(dim=0) > logits[0]).numpy()[:height, :width]
        truth = prepare_labels(stored, prepared)[0, :height, :width] > 0
        return Lesson(item.name, prepared.planes[0, :, :height, :width].copy(), truth, draft)

    lessons = [read(item) for item in items if options.source in ("all", item.source)]
    return [lesson for lesson in lessons if lesson.truth.any()]


def train(clicking: ClickNetwork, lessons: Sequence[Lesson], options: argparse.Namespace) -> None:
    """Train for some steps; normalisation stays as it is, because batches are small."""
    rng = np.random.default_rng(options.seed)
    encoder = list(clicking.network.get_submodule("encoder").parameters())
    known = {id(parameter) for parameter in [*encoder, clicking.hints.weight]}
    rest = [parameter for parameter in clicking.parameters() if id(parameter) not in known]
    rates = [(encoder, 1e-4), (rest, 5e-4), ([clicking.hints.weight], 5e-3)]
    optimiser = torch.optim.AdamW([{"params": group, "lr": rate} for group, rate in rates], weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, [rate for _, rate in rates], options.steps, pct_start=0.1)
    clicking.eval()
    for step in range(options.steps):
        batch = [draw_lesson(lessons[rng.integers(len(lessons))], clicking, rng) for _ in range(options.batch)]
        planes, hints, truth, weight = (torch.from_numpy(np.stack(part)) for part in zip(*batch, strict=True))
        loss = compute_loss(clicking(planes, hints), truth, weight)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(clicking.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        if step % 10 == 0:
            print(json.dumps({"step": step, "loss": round(float(loss), 4)}), flush=True)


def draw_lesson(lesson: Lesson, clicking: ClickNetwork, rng: np.random.Generator) -> tuple[NDArray[np.float32], ...]:
    """Return plane, mask with clicks, truth and weights of one crop; the network has answered up to two clicks."""
    kind = rng.random()
    mask = lesson.draft
    if kind < EMPTY_SHARE + DAMAGED_SHARE:
        mask = np.zeros_like(lesson.truth) if kind < EMPTY_SHARE else damage(lesson.truth, rng)
    click = place_click(mask, lesson.truth, bool(rng.random() < 0.5), rng)
    y, x = (click.y, click.x) if click is not None else (lesson.truth.shape[0] // 2, lesson.truth.shape[1] // 2)
    plane, (mask, truth) = cut(lesson.plane, y, x, "edge"), cut(np.stack([mask, lesson.truth]), y, x, "constant")
    clicks: list[Click] = []
    for left in reversed(range(int(rng.integers(1, 4)))):
        click = place_click(mask, truth, bool(rng.random() < 0.5), rng)
        if click is None:
            break
        clicks.append(click)
        if left:
            mask = answer(clicking, plane, mask, clicks)
    weight = np.ones(truth.shape, np.float32)
    if clicks:
        rows, columns = np.ogrid[: truth.shape[0], : truth.shape[1]]
        squared = (rows - clicks[-1].y) ** 2 + (columns - clicks[-1].x) ** 2
        weight += (NEAR_WEIGHT * np.exp(-squared / (2 * NEAR_PX**2))).astype(np.float32)
    return plane, make_hints(mask, clicks), truth.astype(np.float32), weight


def cut(pixels: NDArray, y: int, x: int, mode: str) -> NDArray:  # type: ignore[type-arg]
    """Return the crop (c, CROP_PX, CROP_PX) around a place, moved inside; smaller planes are continued below."""
    height, width = pixels.shape[-2:]
    down, right = max(0, CROP_PX - height), max(0, CROP_PX - width)
    padded = np.pad(pixels, ((0, 0), (0, down), (0, right)), mode=mode)  # type: ignore[call-overload]
    top, left = find_corner(y, height + down), find_corner(x, width + right)
    return padded[:, top : top + CROP_PX, left : left + CROP_PX]


def find_corner(place: int, side: int) -> int:
    """Return where the crop around a place begins."""
    return max(0, min(place - CROP_PX // 2, side - CROP_PX))


def make_hints(mask: Mask, clicks: list[Click]) -> NDArray[np.float32]:
    """Return mask and clicks (3, h, w) as the network takes them."""
    return np.concatenate([mask[None].astype(np.float32), draw_clicks(clicks, mask.shape)])


def answer(clicking: ClickNetwork, plane: NDArray[np.float32], mask: Mask, clicks: list[Click]) -> Mask:
    """Return the mask that the network proposes for a crop."""
    with torch.inference_mode():
        logit = clicking(torch.from_numpy(plane[None].copy()), torch.from_numpy(make_hints(mask, clicks)[None]))
    proposed: Mask = logit[0].numpy() > 0
    return proposed


def compute_loss(logit: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Return normalised focal loss plus Dice of logits, truth and weights (n, h, w)."""
    probability = torch.sigmoid(logit)
    right = torch.where(truth > 0, probability, 1 - probability)
    focus = weight * (1 - right) ** FOCUS
    entropy = functional.binary_cross_entropy_with_logits(logit, truth, reduction="none")
    focal = (focus * entropy).sum((1, 2)) / focus.sum((1, 2)).detach().clamp_min(1e-6)
    both = (weight * probability * truth).sum((1, 2))
    dice = 1 - (2 * both + 1) / ((weight * (probability + truth)).sum((1, 2)) + 1)
    return (focal + dice).mean()


Step = Callable[[Lesson, Mask, list[Click], np.random.Generator], Mask]


def list_ways(clicking: ClickNetwork) -> dict[str, Step]:
    """Return the ways to mend a mask, by name: one step each."""

    def click_on(is_centred: bool) -> Step:
        def step(lesson: Lesson, mask: Mask, clicks: list[Click], rng: np.random.Generator) -> Mask:
            click = place_click(mask, lesson.truth, is_centred, rng)
            if click is None:
                return mask
            clicks.append(click)
            return apply_click(clicking, lesson.plane, mask, clicks)

        return step

    return {
        "network, centred clicks": click_on(True),
        "network, clicks anywhere": click_on(False),
        "ideal dab": lambda lesson, mask, clicks, rng: dab(mask, lesson.truth),
    }


def apply_click(clicking: ClickNetwork, plane: NDArray[np.float32], mask: Mask, clicks: list[Click]) -> Mask:
    """Return a mask after the newest click, which changes one piece in the crop around it."""
    newest = clicks[-1]
    height, width = mask.shape
    top, left = find_corner(newest.y, max(height, CROP_PX)), find_corner(newest.x, max(width, CROP_PX))
    moved = [Click(click.y - top, click.x - left, click.is_positive) for click in clicks]
    part = cut(mask[None], newest.y, newest.x, "constant")[0]
    proposed = answer(clicking, cut(plane, newest.y, newest.x, "edge"), part, moved)
    kept = keep_clicked_piece(part, proposed, moved[-1])
    result = mask.copy()
    result[top : top + CROP_PX, left : left + CROP_PX] = kept[: height - top, : width - left]
    return result


def follow(step: Step, lesson: Lesson) -> dict[str, object]:
    """Mend the live model's mask step by step; return the Dice after each, and the milliseconds of a step."""
    rng = np.random.default_rng(len(lesson.name))
    mask, dice, seconds = lesson.draft, [compute_mask_dice(lesson.draft, lesson.truth)], []
    clicks: list[Click] = []
    for _ in range(max(N_CLICKS)):
        began = time.process_time()
        mask = step(lesson, mask, clicks, rng)
        seconds.append(time.process_time() - began)
        dice.append(compute_mask_dice(mask, lesson.truth))
    return {"name": lesson.name, "dice": dice, "ms": 1000 * statistics.median(seconds)}


def format_table(table: dict[str, list[dict[str, object]]]) -> str:
    """Return the table as Markdown."""
    lines = [f"| | images | {' | '.join(f'{n} clicks' for n in N_CLICKS)} | NoC85 | tenth percentile after 5 | ms |"]
    lines.append("|---" * (len(N_CLICKS) + 5) + "|")
    for name, rows in table.items():
        dice = np.array([row["dice"] for row in rows])
        reached = dice >= GOAL
        needed = np.where(reached.any(axis=1), reached.argmax(axis=1), max(N_CLICKS))
        means = " | ".join(f"{dice[:, n].mean():.3f}" for n in N_CLICKS)
        ms = statistics.median(float(str(row["ms"])) for row in rows)
        lines.append(
            f"| {name} | {len(rows)} | {means} | {needed.mean():.1f} | {np.percentile(dice[:, 5], 10):.3f} | {ms:.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
