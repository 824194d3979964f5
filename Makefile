# make demo: the main job on bundled real data.   make test: the tests.   make endurance: damaged files, kills, full disks,
# for hours.   Each does its own set-up, once.
PYTHON ?= python3
export PYTHON

HAS_DISPLAY := $(or $(DISPLAY),$(WAYLAND_DISPLAY),$(filter Darwin,$(shell uname -s)))
XVFB := xvfb-run -a -s "-screen 0 1280x720x24"
# With its bytecode kept, a process of the tests compiles nothing twice; pytest would compile all of napari in each.
PYTEST := env -u PYTHONDONTWRITEBYTECODE OMP_NUM_THREADS=1 $(XVFB) .venv/bin/python -m pytest

.PHONY: demo test endurance lint setup

demo:
	@scripts/setup.sh all
ifneq ($(HAS_DISPLAY),)
	@.venv/bin/medseg demo
else
	@$(XVFB) .venv/bin/medseg demo --scripted --out demo-output
endif

test:
	@scripts/setup.sh test
	@$(PYTEST) -n auto --maxprocesses 4 --dist worksteal $(ARGS)

# Hours; stopped and started again, it goes on. make endurance ARGS="--minutes 30 --endurance-seed 2"
endurance:
	@scripts/setup.sh test
	@$(PYTEST) tests/endurance tests/benchmarks --long $(ARGS)

lint:
	@scripts/setup.sh dev
	@.venv/bin/pre-commit run --all-files --show-diff-on-failure

setup:
	@scripts/setup.sh dev
