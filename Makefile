# Two commands need nothing but Python 3.11 or newer and a package index: `make quickstart` and `make test`.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help install quickstart check format test test-all bench build clean

help:  ## Show this help.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  \1|/' | column -t -s '|'

install: $(READY)  ## Make the environment in .venv, with the tested versions.

$(READY): pyproject.toml constraints.txt
	@echo "== making the environment in $(VENV) (once; a few minutes)"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

quickstart: $(READY)  ## Fine-tune a real checkpoint on the sentiment sample, score it, use it, export it.
	@rm -rf quickstart
	@echo "== 1 of 5: getting the starter checkpoint minilm"
	@$(BIN)/ftkit checkpoints get minilm
	@echo "== 2 of 5: fine-tuning it on the shipped sentiment sample (about a minute)"
	@$(BIN)/ftkit train sentiment/full --run quickstart/run
	@echo "== 3 of 5: scoring the saved model again on the test rows"
	@$(BIN)/ftkit eval quickstart/run
	@echo "== 4 of 5: answering two new sentences"
	@$(BIN)/ftkit predict quickstart/run "The soup was cold and the waiter forgot us." "What a lovely little hotel!"
	@echo "== 5 of 5: exporting it as a plain transformers checkpoint"
	@$(BIN)/ftkit export quickstart/run --to quickstart/model
	@echo "== done: the run is quickstart/run, the exported model quickstart/model"

check: $(READY)  ## Lint, formatting and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)  ## Put the code in order.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: $(READY)  ## Every test but the slow ones.
	$(BIN)/python -m pytest -q -n auto --dist worksteal

test-all: $(READY)  ## Every test, also the slow ones and, where $$FTKIT_DATA names them, those on public data.
	$(BIN)/python -m pytest -q -n auto --dist worksteal -m ''

bench: $(READY)  ## Training speed beside the stock Trainer, on public data in $$FTKIT_DATA; more in benchmarks/README.md.
	$(BIN)/python -m benchmarks.train_speed

build: $(READY)  ## Build the wheel.
	$(BIN)/python -m build --wheel --no-isolation

clean:  ## Remove what the commands above made, but the environment.
	rm -rf build dist quickstart .pytest_cache .mypy_cache .ruff_cache .hypothesis
