"""Recipes that compare encoders on lesions: same patients, steps and seeds, "a lesion of any kind", no test patient.

`python benchmarks/encoders.py --out DIR` writes one base recipe for each encoder and seed; train each with
`python -P -m training.from_folders.base_model --data DATA --weights WEIGHTS --recipe DIR/NAME.json RUN_DIR`. Compare
the validation Dice in `log.txt` (patients cc005 and rp36). The patients of the test are in no item.
"""

import argparse
import json
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENCODERS = {
    "mobilenet_v2": "mobilenet_v2_imagenet.safetensors",
    "tu-tf_efficientnet_lite0": "efficientnet_lite0_imagenet.safetensors",
}
"""Encoder, and its file in the folder of weights."""
SEEDS = (1, 2)


def main() -> None:
    """Write the recipes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for encoder in ENCODERS:
        for seed in SEEDS:
            path = options.out / f"{encoder}_{seed}.json"
            path.write_text(json.dumps(_make_recipe(encoder, seed), indent=2) + "\n", encoding="utf-8")


def _make_recipe(encoder: str, seed: int) -> dict[str, object]:
    base = json.loads((ROOT / "training" / "recipes" / "covid-2.json").read_text(encoding="utf-8"))
    lesions = next(source for source in base["sources"] if source["name"] == "ct20")
    lesions = lesions | {"only": "^(?!cc003|cc006|rp14)", "hold_out": [], "label_sets": {}, "weight": 1.0}
    name = f"covid-{encoder.replace('_', '-')}"
    base["card"] |= {"name": name, "version": 1}
    base["card"]["architecture"]["encoder"] = encoder
    base["recipe"]["run"] |= {"name": name, "version": 1, "seed": seed}
    base["recipe"]["optimiser"] |= {"learning_rate": 0.002}
    base["recipe"]["schedule"] |= {"n_epochs": 6, "steps_per_epoch": 22, "patience": 6}
    return base | {"sources": [lesions], "parent": "", "encoder_weights": ENCODERS[encoder]}


if __name__ == "__main__":
    main()
