"""`python tests/endurance/long_run.py`: give damaged files of all kinds to the program, for as long as you like.

    make endurance                                   # all families, 10,000 damages each
    python tests/endurance/long_run.py --families journal tiff --n 500 --seed 3
    python tests/endurance/long_run.py --repeat tiff 4711 FOLDER   # write the intact files and this one damage

Results are written after every family part into `--out`, so a stopped run goes on where it was.
"""

import argparse
import os
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHARED_CODE = ("tests/endurance", "tests/core/dicom", "tests/training", "tests/workflow")
sys.path[:0] = [str(ROOT), *(str(ROOT / folder) for folder in SHARED_CODE)]
os.environ.setdefault("OMP_NUM_THREADS", "1")

from fuzzing import Family, FamilyResult, fuzz, load, repeat, save  # noqa: E402


def list_families(names: Sequence[str] = ()) -> dict[str, Family]:
    """Return the families of these names, or all; torch is loaded only if it is needed."""
    from format_families import FORMATS
    from volume_families import VOLUMES

    families = {family.name: family for family in (*FORMATS, *VOLUMES)}
    if not names or not set(names) <= families.keys():
        from own_families import OWN
        from weight_families import WEIGHTS

        families |= {family.name: family for family in (*OWN, *WEIGHTS)}
    return {name: families[name] for name in families}


def run(names: list[str], n: int, seed: int, out: Path, seconds: float) -> list[FamilyResult]:
    """Run families in turn, in slices, so that each has its share if the time ends."""
    families = list_families(names)
    until = time.monotonic() + seconds
    results = {name: load(out / f"{name}.json", name, seed) for name in names or families}
    share = max(n // 20, 1) if seconds != float("inf") else n
    for goal in range(share, n + share, share):
        for name, result in results.items():
            if result.done >= min(goal, n) or time.monotonic() > until:
                continue
            for _ in fuzz(families[name], min(goal, n), seed, result, until):
                save(result, out / f"{name}.json")
            save(result, out / f"{name}.json")
        known = [load(path, path.stem, seed) for path in sorted(out.glob("*.json")) if "kills" not in path.name]
        (out / "mutations.md").write_text(format_table([result for result in known if result.done]))
    return list(results.values())


def format_table(results: list[FamilyResult]) -> str:
    """Return the results as a Markdown table, and the faults as a list."""
    rows = ["| family | damages | read | reported | refused | faults | each | longest | peak |", "|---|" + "---:|" * 8]
    for result in results:
        counts = [f"{result.outcomes.get(key, 0):,}" for key in ("read", "reported", "refused")]
        costs = f"{1000 * result.seconds / max(result.done, 1):.0f} ms | {result.longest_s:.1f} s"
        cells = [result.family, f"{result.done:,}", *counts, f"{sum(result.faults.values()):,}", costs]
        rows.append(f"| {' | '.join(cells)} | {result.peak_bytes >> 20} MiB |")
    faults = [f"- {result.family}: {n} x {key}" for result in results for key, n in result.faults.items()]
    return "\n".join([*rows, "", *faults, ""])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--families", nargs="*", default=[])
    parser.add_argument("--n", type=int, default=10_000, help="damages per family")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--out", type=Path, default=ROOT / "endurance-output")
    parser.add_argument("--repeat", nargs=3, metavar=("FAMILY", "NUMBER", "FOLDER"))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.repeat:
        name, number, folder = options.repeat
        Path(folder).mkdir(parents=True)
        sys.stdout.write(f"{repeat(list_families()[name], int(number), options.seed, Path(folder))}\n")
        return 0
    options.out.mkdir(parents=True, exist_ok=True)
    results = run(options.families, options.n, options.seed, options.out, options.minutes * 60)
    sys.stdout.write(format_table(results))
    return int(any(result.faults for result in results))


if __name__ == "__main__":
    sys.exit(main())
