"""The benchmarks are scripts in a folder of their own; their tests share the trainer's phantoms."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "benchmarks"), str(ROOT / "tests" / "training")]
