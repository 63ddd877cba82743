# Set-up and every check of the project. On a fresh machine (Python 3.11 or newer, make, git) one target is
# enough: it makes the environment first. A second call starts at once unless the requirements changed.

PYTHON ?= python3
UV_VERSION := 0.13.8

# Another interpreter gets its own environment: `make test PYTHON=/path/to/python3.12` uses .venv-3.12.
ifeq ($(PYTHON),python3)
VENV := .venv
else
VENV := .venv-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
endif
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# A test process for each core, four at most: each holds torch, 1 GB. One thread in each.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

# On Linux torch brings CUDA along, gigabytes; its CPU builds are on an index of torch's own. uv knows where, and which build
# suits the machine. Where that index cannot be reached, which takes a second to see, torch comes from where all else does.
SUITED_TORCH = if test -z "$$UV_TORCH_BACKEND" && UV_HTTP_RETRIES=0 uv pip install --quiet --dry-run --reinstall \
    --torch-backend auto --python $(BIN)/python -c constraints.txt torch torchvision 2>/dev/null; \
  then export UV_TORCH_BACKEND=auto; fi

# Each test that starts a program would compile torch, pandas and all else again where no bytecode is kept.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install demo docs test test-faults test-calls test-long test-sweep test-peers test-wheel check bench bench-peers quality clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

install: $(READY)  ## make the environment (the other targets do it by themselves)

demo: $(READY)  ## turn the demo's Landsat scene into a land-cover map in demo/
	$(BIN)/geoseg demo -o demo --overwrite

test: $(READY)  ## run the tests (without kill and disk-full sweeps)
	$(PYTEST)

test-faults: $(READY)  ## run the kill, disk-full and lock sweeps
	$(PYTEST) -m faults

test-calls: $(READY)  ## let each write, fsync and rename of the commands fail once (needs gcc)
	$(PYTEST) -m calls

test-long: $(READY)  ## whole trainings, processes that load torch, every scene and recipe of the shared data sets, the quick starts
	$(PYTEST) -m long

test-sweep: $(READY)  ## polygons of sixteen thousand random maps (a quarter of an hour)
	$(PYTEST) -m sweep

test-wheel: $(READY)  ## build the wheel, look into it, install it elsewhere, whole and without torch, and compare
	rm -rf build dist .venv-wheel .venv-predict
	PATH="$(abspath $(BIN)):$$PATH" uv build --quiet --wheel --python $(BIN)/python --out-dir dist
	$(BIN)/python tests/wheel_check.py dist
	$(BIN)/python -m venv --without-pip .venv-wheel
	PATH="$(abspath $(BIN)):$$PATH"; $(SUITED_TORCH); \
	  uv pip install --quiet --python .venv-wheel/bin/python -c constraints.txt dist/*.whl
	$(BIN)/python -m venv --without-pip .venv-predict
	PATH="$(abspath $(BIN)):$$PATH" uv pip install --quiet --python .venv-predict/bin/python --no-deps dist/*.whl
	PATH="$(abspath $(BIN)):$$PATH" uv pip install --quiet --python .venv-predict/bin/python -c constraints.txt \
	  -r requirements/predict.txt
	$(BIN)/python tests/predict_check.py .venv-wheel .venv-predict build/without-torch
	mkdir -p build/wheel-demo
	cd build/wheel-demo && $(abspath .venv-wheel)/bin/geoseg demo -o demo
	rm -rf build .venv-wheel .venv-predict

test-peers: $(READY)  ## compare with weights that geoai and ftw-tools write (their environments take GB)
	export PATH="$(abspath $(BIN)):$$PATH"; \
	for peer in geoai ftw; do \
	  test -x .venv-$$peer/bin/python || uv venv --quiet --python $(BIN)/python .venv-$$peer || exit 1; \
	done; \
	uv pip install --quiet --python .venv-geoai/bin/python geoai-py && \
	uv pip install --quiet --python .venv-ftw/bin/python ftw-tools 'torchgeo>=0.7,<0.8'
	.venv-geoai/bin/python tests/peers/make_checkpoint_geoai.py build/peers/checkpoints
	.venv-ftw/bin/python tests/peers/make_checkpoint_ftw.py build/peers/checkpoints
	GEOSEG_REQUIRE=peers $(BIN)/python -m pytest -m peers

docs: $(VENV)/.docs-ready  ## build the site in build/docs, run its examples and check its links
	rm -rf build/docs
	$(BIN)/sphinx-build -W --keep-going -q -b html docs build/docs
	$(BIN)/sphinx-build -W -q -b doctest -d build/docs/.doctrees docs build/doctest
	$(BIN)/python scripts/check_site.py build/docs

$(VENV)/.docs-ready: $(READY)
	PATH="$(abspath $(BIN)):$$PATH" uv pip install --quiet --python $(BIN)/python -c constraints.txt --group docs
	@touch $@

check: $(READY)  ## formatting, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --strict geoseg cli tests/typed_calls.py

quality: $(READY)  ## train and score every method on every data set (hours; GEOSEG_DATA names the folder; goes on where it stopped)
	export PATH="$(abspath $(BIN)):$$PATH"; \
	test -x .venv-geoai/bin/python || uv venv --quiet --python $(BIN)/python .venv-geoai && \
	uv pip install --quiet --python .venv-geoai/bin/python geoai-py
	$(BIN)/python tests/quality/quality.py run
	$(BIN)/python tests/quality/quality.py table

bench: $(READY)  ## run the benchmarks (minutes; a quiet machine)
	@for script in $(sort $(wildcard tests/benchmarks/bench_*.py)); do \
	  echo "== $$script"; $(BIN)/python "$$script" || exit 1; \
	done

bench-peers: $(READY)  ## compare the speed with geoai and Raster Vision (their environments take GB)
	export PATH="$(abspath $(BIN)):$$PATH"; \
	for peer in geoai rastervision; do \
	  test -x .venv-$$peer/bin/python || uv venv --quiet --python $(BIN)/python .venv-$$peer || exit 1; \
	done; \
	uv pip install --quiet --python .venv-geoai/bin/python geoai-py; \
	uv pip install --quiet --python .venv-rastervision/bin/python rastervision_pytorch_learner segmentation-models-pytorch; \
	$(BIN)/python tests/peers/bench_peers.py

clean:  ## remove what the other targets made
	rm -rf .venv .venv-* build dist demo runs lightning_logs *.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find geoseg cli tests -type d -name __pycache__ -prune -exec rm -rf {} +

# A uv on PATH is used when it works and knows dependency groups; else the environment gets its own.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and "geoseg needs Python 3.11 or newer, this is %d.%d; try make PYTHON=/path/to/python3.11" % v[:2])'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@uv pip install --help 2>/dev/null | grep -q -e --group || test -x $(BIN)/uv \
	  || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@if test -x $(BIN)/uv; then PATH="$(abspath $(BIN)):$$PATH"; fi; \
	  $(SUITED_TORCH); \
  set -x; uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[dashboard,int8,onnx,optuna]' --group dev
	@touch $@
