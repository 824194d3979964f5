"""A click network for lesions or instruments against an ideal dab: is it worth shipping? (Research.)

The network is that of the task, `covid-unet` or another one (`--live`). The present mask and maps of positive and
negative clicks enter the first layer of its encoder through a convolution that starts at zero, so that it is the
task's model as long as nothing is learnt. It learns from masks that are empty, damaged truth, or the predictions of a
model that has not seen the image (out-of-fold), with up to three clicks on the largest error, half of them at its
centre and half anywhere in its inner half. The loss is the normalised focal loss (Sofiiuk et al., 2019) and Dice,
weighted near the newest click. A click is computed on 256 px around it, and only the changed piece that contains it is
kept.

`python benchmarks/click_network.py RUN_DIR --recipe RECIPE --data DATA --weights WEIGHTS --out FOLDER` trains on the
training images of a run folder (`base_model --prepare` makes it), first the two models for the out-of-fold predictions,
and then measures on hold-out images (`--role validate`: on validation images, to choose by): Dice after 0, 1, 2, 3, 5
and 10 clicks from the live model's predictions, beside the ideal dab, which is a disc of the best radius at the centre
of the largest error. All is measured on the network's grid, in the box around the lungs of the reference. `--report`
only measures.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from click_lessons import CROP_PX, Lesson, cut, draw_batch, find_corner, make_hints, read_lessons, train_folds
from click_simulation import Click, Mask, compute_mask_dice, dab, keep_clicked_piece, place_click
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

import napari_medseg
from napari_medseg.core.snapshot import Role
from napari_medseg.networks import load_version

LIVE = Path(napari_medseg.__file__).parent / "models" / "covid-unet" / "2"
RECIPES = Path(__file__).resolve().parents[1] / "training" / "recipes"
N_CLICKS = (0, 1, 2, 3, 5, 10)
GOAL = 0.85
WEIGHTS = "click_network.safetensors"
FOCUS = 2.0
EMA_DECAY = 0.99


class ClickNetwork(nn.Module):
    """A network with an encoder that is also shown a mask and clicks."""

    def __init__(self, network: nn.Module, *, is_bf16: bool = False) -> None:
        super().__init__()
        self.network, self.is_bf16 = network, is_bf16
        first = next(layer for layer in network.get_submodule("encoder").modules() if isinstance(layer, nn.Conv2d))
        self.hints = nn.Conv2d(3, first.out_channels, 3, first.stride, 1, bias=False)
        nn.init.zeros_(self.hints.weight)
        self._added: Tensor | None = None
        first.register_forward_hook(self._add_hints)

    def _add_hints(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output if self._added is None else output + self._added

    def forward(self, planes: Tensor, hints: Tensor) -> Tensor:
        """Return the logit (n, h, w) of any label, from planes (n, c, h, w) and mask and clicks (n, 3, h, w)."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.is_bf16):
            self._added = self.hints(hints)
            logits = self.network(planes.contiguous(memory_format=torch.channels_last)).float()
        self._added = None
        return logits[:, 1:].logsumexp(dim=1) - logits[:, 0]


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is missing, then measure and print the table."""
    options = parse_arguments(arguments)
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    network, _ = load_version(options.live)
    clicking = ClickNetwork(network.eval(), is_bf16=options.precision == "bf16")
    clicking.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    options.out.mkdir(parents=True, exist_ok=True)
    weights = options.out / WEIGHTS
    if not weights.exists() and not options.report:
        lessons = read_lessons(options.run_dir, options.learnt, Role.TRAIN, train_folds(options))
        drafts = [compute_mask_dice(lesson.draft, lesson.truth) for lesson in lessons]
        print(json.dumps({"lessons": len(lessons), "out-of-fold Dice": round(statistics.fmean(drafts), 3)}), flush=True)
        train(clicking, lessons, options)
        save_network(clicking, weights)
    if weights.exists():
        clicking.load_state_dict(load_file(weights))
    role = Role(options.role)
    judged = read_lessons(options.run_dir, options.source, role, lambda item: options.live)[:: options.every]
    table = {name: [follow(step, lesson) for lesson in judged] for name, step in list_ways(clicking.eval()).items()}
    (options.out / f"clicks-{role.value}.json").write_text(json.dumps(table), encoding="utf-8")
    print(format_table(table))


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--live", type=Path, default=LIVE, help="folder of the task's model")
    parser.add_argument("--recipe", type=Path, default=RECIPES / "covid-2.json", help="of the models of the folds")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--weights", type=Path, default=Path("../shared/weights"), help="of the ImageNet encoder")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--fold-steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--learnt", default="all", help="source of the images to learn from, or `all`")
    parser.add_argument("--source", default="ct20", help="source of the images to measure, or `all`")
    parser.add_argument("--role", default="hold_out", choices=["hold_out", "validate"], help="of those to measure")
    parser.add_argument("--every", type=int, default=4, help="every n-th image is measured")
    parser.add_argument("--report", action="store_true", help="train nothing")
    return parser.parse_args(arguments)


def train(clicking: ClickNetwork, lessons: Sequence[Lesson], options: argparse.Namespace) -> None:
    """Train for some steps; normalisation stays as it is, because batches are small."""
    rng = np.random.default_rng(options.seed)
    encoder = list(clicking.network.get_submodule("encoder").parameters())
    known = {id(parameter) for parameter in [*encoder, clicking.hints.weight]}
    rest = [parameter for parameter in clicking.parameters() if id(parameter) not in known]
    rates = [(encoder, 3e-4), (rest, 1e-3), ([clicking.hints.weight], 5e-3)]
    optimiser = torch.optim.AdamW([{"params": group, "lr": rate} for group, rate in rates], weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, [rate for _, rate in rates], options.steps, pct_start=0.1)
    average = torch.optim.swa_utils.AveragedModel(
        clicking, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(EMA_DECAY)
    )
    clicking.eval()

    def answer(planes: NDArray[np.float32], hints: NDArray[np.float32]) -> NDArray[np.bool_]:
        with torch.inference_mode():
            proposed: NDArray[np.bool_] = (clicking(torch.from_numpy(planes), torch.from_numpy(hints)) > 0).numpy()
        return proposed

    for step in range(options.steps):
        planes, hints, truth, weight = draw_batch(lessons, options.batch, answer, rng)
        loss = compute_loss(clicking(planes, hints), truth, weight)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(clicking.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        average.update_parameters(clicking)
        if step % 20 == 0:
            spent_s = round(time.process_time())
            print(json.dumps({"step": step, "loss": round(loss.item(), 4), "processor_s": spent_s}), flush=True)
            save_network(average.module, options.out / f"unfinished-{WEIGHTS}")
    clicking.load_state_dict(average.module.state_dict())


def save_network(network: nn.Module, file: Path) -> None:
    """Save the weights; safetensors takes no channels-last kernels."""
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, file)


def answer_click(clicking: ClickNetwork, plane: NDArray[np.float32], mask: Mask, clicks: list[Click]) -> Mask:
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
    proposed = answer_click(clicking, cut(plane, newest.y, newest.x, "edge"), part, moved)
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
