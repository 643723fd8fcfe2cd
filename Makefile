# Two commands are enough right after `git clone`, given Python 3.11 or newer with its venv module, and g++:
#
#   make demo   damages a photograph, denoises and upscales it, prints the figures, draws demo.png
#   make test   installs everything that the tests need, then runs them
#
# Both install fastimg as a user would, into .venv, and again only when its sources changed. For work on the code,
# `make inplace` builds the extension beside its sources; `python -m pytest` then tests the tree as it stands.

PYTHON3 ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(BIN)/python
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install

# One process to each processor; more than a few of them would wait for each other's threads.
WORKERS := --numprocesses auto --maxprocesses 4 --dist worksteal

KERNELS := $(shell find csrc tools tests -name '*.cpp' -o -name '*.hpp' -o -name '*.inl' -o -name '*.cu' -o -name '*.cuh')
SOURCES := pyproject.toml setup.py MANIFEST.in $(wildcard README.md) $(KERNELS) \
    $(shell find fastimg -type f ! -name '*.so' ! -name '*.pyc')

.PHONY: demo test test-v4 test-resources test-sanitized lint format bench inplace stubs clean

demo: $(VENV)/.demo
	$(BIN)/fastimg demo --output demo.png --overwrite

test: $(VENV)/.test
	$(BIN)/pytest tests --ignore tests/cuda/test_resources.py --pyargs fastimg $(WORKERS)

# The v4 kernels where the processor has no AVX-512: its instructions emulated, the tests of that target alone.
test-v4: $(VENV)/.test $(VENV)/.inplace
	FASTIMG_EMULATE_AVX512=1 $(PYTHON) setup.py -q build --build-base build/emulated --build-lib build/emulated/lib
	PYTHONPATH=build/emulated/lib $(BIN)/pytest tests -k v4 $(WORKERS)

# Every CUDA kernel compiled for every architecture, and what it needs against the table: no GPU.
test-resources: $(VENV)/.test
	$(BIN)/pytest tests/cuda/test_resources.py

# Non-local means, Gaussian filters, warping and networks of the CPU under AddressSanitizer, UndefinedBehaviorSanitizer
# and ThreadSanitizer, and a part of the tests of the CUDA kernels on the CPU under the first two.
test-sanitized: $(VENV)/.test
	$(MAKE) -j$(shell nproc) build/sanitized/address,undefined build/sanitized/thread
	build/sanitized/address,undefined
	build/sanitized/thread
	PYTHONPATH=tests $(BIN)/python -P -m cuda_emulator.sanitizers -m pytest tests/cuda -m 'not gpu' -k layout $(WORKERS)

WATCHED := tests/sanitizers/kernels.cpp $(patsubst %,csrc/cpu/%.cpp,warp denoise_nl_means convolution gaussian \
    gaussian_recursive convolution_plan conv2d conv_transpose2d support/thread_pool support/targets)

build/sanitized/thread: $(WATCHED:%.cpp=build/sanitized/%.thread.o)
build/sanitized/address,undefined: $(WATCHED:%.cpp=build/sanitized/%.address,undefined.o)
build/sanitized/thread build/sanitized/address,undefined:
	$(CXX) -pthread -fsanitize=$(@F) $^ -o $@

# -Og takes half of the time of -O1.
build/sanitized/%.o: $(KERNELS)
	@mkdir -p $(@D)
	$(CXX) -std=gnu++17 -Og -g1 -ffp-contract=fast -fno-math-errno -fno-ipa-icf -w -pthread -Icsrc/cpu \
	    -fsanitize=$(patsubst .%,%,$(suffix $*)) -fno-sanitize-recover=all -c $(basename $*).cpp -o $@

# Races against the rivals, as benchmarks/README.md tells; FULL=1 for all jobs.
RESULTS ?= build/benchmarks/results
bench: $(VENV)/.test
	$(BIN)/python -P -m pytest benchmarks -o python_files='bench_*.py' \
	    --benchmark-columns=median,iqr,rounds --benchmark-sort=fullname --verbose --no-header \
	    --results $(RESULTS) $(if $(FULL),--full)
	@cat $(RESULTS).md

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run -Werror $(KERNELS)
	$(BIN)/mypy

format: $(VENV)/.lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(KERNELS)

# The extension beside its sources; uses ccache where it is installed.
inplace: $(if $(filter $(BIN)/python,$(PYTHON)),$(VENV)/.inplace)
	$(if $(shell command -v ccache),CC="ccache gcc" CXX="ccache g++") $(PYTHON) setup.py -q build_ext --inplace

# The checked-in types of the extension; a test compares.
stubs: inplace
	$(PYTHON) tools/make_stubs.py fastimg/_fastimg_cpu.pyi

clean:
	rm -rf $(VENV) build *.egg-info fastimg/*.so demo.png .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -r {} +

# ---- what the above need in the environment; each file is touched when it is there

$(BIN)/python:
	$(PYTHON3) -m venv $(VENV)

$(VENV)/.demo: $(SOURCES) | $(BIN)/python
	$(PIP) '.[demo]'
	@touch $@

# torch is pinned: what else the newest one brings is gigabytes of CUDA libraries.
$(VENV)/.test: $(SOURCES) | $(BIN)/python
	$(PIP) torch==2.13.0
	$(PIP) '.[test]'
	@touch $@ $(VENV)/.demo

$(VENV)/.lint: pyproject.toml | $(BIN)/python
	$(BIN)/python -c "import tomllib; extras = tomllib.load(open('pyproject.toml', 'rb'))['project'] \
	    ['optional-dependencies']; print(*extras['lint'])" | xargs $(PIP) numpy
	@touch $@

$(VENV)/.inplace: pyproject.toml | $(BIN)/python
	$(PIP) 'setuptools>=77' 'pybind11>=3.0'
	@touch $@
