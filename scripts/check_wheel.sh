#!/usr/bin/env bash
# Builds the wheel, installs it with [all] into a fresh environment, validates the plugin manifest there, and predicts one
# sample slice with the installed program. A file that the wheel lacks, or an undeclared dependency, fails here.
# Usage: scripts/check_wheel.sh [EMPTY_ENVIRONMENT], so that an environment can serve again afterwards.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
venv=$work/venv
if [ $# -gt 0 ]; then
    venv=$(realpath "$1")
else
    "${PYTHON:-python3}" -m venv "$venv"
fi
slice=$PWD/napari_medseg/samples/ct_a0001/dicom/A0001_z031.dcm

"$venv/bin/python" -m pip wheel -q --no-deps -w "$work" .
wheel=$(ls "$work"/*.whl)
"$venv/bin/python" -m pip install -q --disable-pip-version-check "$wheel[all]"

cd "$work" # outside the checkout, so that only the installed package is found
"$venv/bin/npe2" validate napari-medseg
"$venv/bin/medseg" predict "$slice" -o labels --task lungs
"$venv/bin/python" - labels <<'PY'
import sys
from pathlib import Path

import numpy as np
import tifffile

(path,) = Path(sys.argv[1]).glob("*.tif")
found = set(np.unique(tifffile.imread(path)).tolist())
if found != {0, 1, 2}:
    sys.exit(f"{path.name} holds the labels {found}; expected are 0, 1 (right lung) and 2 (left lung)")
PY
echo "wheel: $(du -h "$wheel" | cut -f1), installed with its models and samples: $(
    du -ch "$venv"/lib/python3*/site-packages/napari_medseg "$venv"/lib/python3*/site-packages/training | tail -1 | cut -f1)"
