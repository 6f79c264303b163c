# Needs Python 3.11+ and make. PIP_ARGS is handed to pip, as for a torch built for a GPU:
#   make demo TORCH=torch PIP_ARGS="--extra-index-url ADDRESS-OF-THE-TORCH-INDEX"
PYTHON ?= python3
PIP_ARGS ?=
TORCH ?= torch==2.13.0
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS)
RUN ?= runs/demo

.PHONY: demo demo-molecule demo-backbone test lint docs bench table clean

demo: .venv/installed
	$(BIN)/genmatter train polymer/vae --epochs 25 --run $(RUN) --overwrite
	$(BIN)/genmatter sample $(RUN) -n 1000
	$(BIN)/genmatter evaluate $(RUN)
	$(BIN)/genmatter report $(RUN)

demo-molecule: RUN = runs/molecule
demo-molecule: .venv/installed
	$(BIN)/genmatter train molecule/cvae --run $(RUN) --overwrite
	$(BIN)/genmatter sample $(RUN) -n 1000
	$(BIN)/genmatter evaluate $(RUN)
	$(BIN)/genmatter search $(RUN) qed=max "sa<=3"
	$(BIN)/genmatter report $(RUN)

demo-backbone: RUN = runs/backbone
demo-backbone: .venv/md
	$(BIN)/genmatter train backbone/diffusion --run $(RUN) --overwrite
	$(BIN)/genmatter sample $(RUN) -n 1000
	$(BIN)/genmatter evaluate $(RUN)
	$(BIN)/genmatter report $(RUN)

test: lint
	$(BIN)/python -m pytest -n 2

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --level error
	$(BIN)/lint-imports --no-cache

docs: .venv/docs
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html
	@echo "docs: docs/_build/html/index.html"

bench: .venv/dev
	$(BIN)/python -m benchmarks

table: .venv/installed
	$(BIN)/python -m benchmarks.polymer_table

clean:
	rm -rf .venv build docs/_build runs .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# torch first, by itself: what depends on it would bring a build of several gigabytes
.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "genmatter needs Python 3.11 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) "$(TORCH)"
	$(PIP) -c constraints.txt -e .
	touch $@

.venv/dev: .venv/installed
	$(PIP) -c constraints.txt -e '.[dev]'
	touch $@

.venv/md: .venv/installed
	$(PIP) -c constraints.txt -e '.[md]'
	touch $@

.venv/docs: .venv/installed
	$(PIP) -c constraints.txt -e '.[docs]'
	touch $@
