# `make demo` and `make test` set everything up by themselves; nothing else is needed first.
.DEFAULT_GOAL := help
.PHONY: help setup demo meta-train test test-all test-devices conformance-applications lint format bench clean

BIN := .venv/bin
STAMP := .venv/.installed
PYTHON ?= $(shell command -v python3.11 || command -v python3)
ARGS ?=

help:
	@echo "make demo      install, then run the main job   (ARGS=\"--dataset mnist\" is passed on)"
	@echo "make meta-train  train a zoo and meta-train Phi into runs/phi; resumes (ARGS=\"--models 20\")"
	@echo "make test      install, then run the fast tests (ARGS=\"-k policy\" is passed on)"
	@echo "make test-all  the slow tests too, with line coverage"
	@echo "make test-devices   adb and sshd on loopback, microcontroller, emulated arm64; says what is missing"
	@echo "make conformance-applications   keras.applications the whole way, half an hour; resumes"
	@echo "make setup     create .venv and install; instant when nothing changed"
	@echo "make lint | format | bench | clean"

setup: $(STAMP)

$(STAMP): setup.py constraints.txt
	@"$(PYTHON)" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo "Python 3.11 or newer with venv is needed (Debian: apt install python3.11-venv)." \
	    "Name one with: make setup PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear .venv
	$(BIN)/python -m pip install --constraint constraints.txt --editable ".[dev]"
	@touch $@

demo: setup
	$(BIN)/tf-metacompress demo $(ARGS)

meta-train: setup
	$(BIN)/tf-metacompress meta-train --out=runs/phi --workers=2 $(ARGS)

test: setup
	$(BIN)/python -m pytest -m "not slow" -n 2 $(ARGS)

test-all: setup
	$(BIN)/python -m pytest -n 2 --cov --cov-report=term $(ARGS)

test-devices: setup
	@for need in adb:adb ssh:openssh-client sshd:openssh-server; do \
	  PATH="$$PATH:/usr/sbin" command -v "$${need%%:*}" >/dev/null || \
	  echo "$${need%%:*} is missing, its tests are left out (Debian: apt install $${need##*:})"; done
	@$(BIN)/python -c "import tflite_micro" 2>/dev/null || echo "tflite-micro is missing, its tests" \
	  "are left out ($(BIN)/python -m pip install --editable '.[micro]')"
	@[ -x build/arm64/python ] || echo "there is no emulated arm64, its tests are left out" \
	  "(PYTHON=$(BIN)/python benchmarks/arm64_root.sh)"
	$(BIN)/python -m pytest tests/deploy/devices tests/deploy/test_micro.py \
	  tests/benchmarks/test_arm64.py $(ARGS)

conformance-applications: setup
	$(BIN)/python -m tests.conformance.applications $(ARGS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup
	@for script in benchmarks/*.py; do echo "$$script"; $(BIN)/python "$$script" $(ARGS) || exit 1; done

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .hypothesis .coverage .coverage.* htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
