#!/usr/bin/env bash
# All the set-up of a fresh Debian or Ubuntu machine, once: system libraries of Qt and GL, a virtual environment, the
# packages. Quick the second time. Usage: scripts/setup.sh EXTRA (all, test or dev; a larger one includes the smaller;
# none: system libraries and an empty environment)
set -euo pipefail
cd "$(dirname "$0")/.."
extra=${1:-all}
venv=.venv
stamp=$venv/medseg-$extra

libraries="libegl1 libgl1 libgl1-mesa-dri libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1 libxcb-shape0
 libxcb-xinerama0 libxcb-image0 libxcb-render-util0 libxcb-randr0 libdbus-1-3 libfontconfig1 fonts-dejavu-core xvfb xauth"

missing_libraries() {
    for package in $libraries; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q "install ok installed" || echo "$package"
    done
}

install_system_packages() {
    if [ "$(id -u)" = 0 ]; then
        apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
    elif sudo -n true 2>/dev/null; then
        sudo apt-get update -q && sudo DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
    else
        echo "These system packages are missing and cannot be installed without root. Run:" >&2
        echo "  sudo apt-get install $*" >&2
        return 1
    fi
}

if command -v apt-get >/dev/null; then
    missing=$(missing_libraries)
    # shellcheck disable=SC2086
    [ -z "$missing" ] || install_system_packages $missing
fi

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "napari-medseg needs Python 3.11 or newer; $python is $("$python" --version). Try: make PYTHON=python3.12 ..." >&2
    exit 1
fi
if [ ! -x $venv/bin/pip ]; then
    # Debian ships Python without ensurepip; its package brings it.
    "$python" -c 'import ensurepip, venv' 2>/dev/null || install_system_packages python3-venv
    "$python" -m venv $venv
fi
if [ "$extra" != none ] && { [ ! -e "$stamp" ] || [ pyproject.toml -nt "$stamp" ]; }; then
    echo "installing the Python packages into $venv (once; torch alone is some gigabytes)"
    $venv/bin/python -m pip install -q --disable-pip-version-check -e ".[$extra]"
    for done in all test dev; do
        touch "$venv/medseg-$done"
        [ "$done" != "$extra" ] || break
    done
fi
