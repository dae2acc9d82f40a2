# Everything a checkout needs. On a fresh machine start with `make demo` or `make test`: both
# make the environment .venv first. PYTHON names another interpreter: make demo PYTHON=python3.12

.DEFAULT_GOAL := help
.NOTPARALLEL:
SHELL := /bin/sh

BIN := .venv/bin
PYTHON ?=
# What `make demo` scans: a copy, because the stamps of one log have no year, and it is taken
# from the time at which the file was last written.
DEMO := build/demo

.PHONY: help demo test test-long check format bench reference clean

help:
	@echo 'make demo       install, scan the bundled attack, print findings'
	@echo 'make test       run the tests, without the long ones'
	@echo 'make test-long  run every test'
	@echo 'make check      formatting, lint, types, imports between rooms'
	@echo 'make format     put the code into its format'
	@echo 'make bench      race against orjson and other engines (takes an hour)'
	@echo 'make reference  write docs/reference and the outputs shown in the documentation anew'
	@echo 'make clean      remove what builds and tests leave behind, .venv excepted'

demo: .venv/.installed
	@rm -rf $(DEMO) && mkdir -p $(DEMO)
	@cp -R examples/demo/. $(DEMO)/
	@TZ=UTC touch -t 202611122230 $(DEMO)/node-2/syslog
	@$(BIN)/trailhound scan $(DEMO)/*/
	@echo
	@echo 'That was one evening: a guessed password, a cluster, a cloud account, and the invoices'
	@echo 'gone. examples/demo/README.md tells the story to compare with. What to try next:'
	@echo
	@echo '  $(BIN)/trailhound scan $(DEMO)/*/ --format markdown --output report.md'
	@echo '  $(BIN)/trailhound rules explain "Root user signed in to the console"'
	@echo '  $(BIN)/trailhound scan /var/log --level medium'
	@echo
	@echo 'docs/tutorial.md goes on from here, to rules of your own.'

test: .venv/.installed-dev
	@$(BIN)/python -m pytest -n 2 -rs -m 'not slow'

test-long: .venv/.installed-dev
	@$(BIN)/python -m pytest -n 2 -rs

check: .venv/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/.installed-dev
	$(BIN)/python -m benchmarks.run

reference: .venv/.installed-dev
	$(BIN)/python tools/reference.py

clean:
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './.venv/*' -not -path './benchmarks/.data/*' \
	  -prune -exec rm -rf {} +

.venv/.installed: pyproject.toml tools/environment.sh
	@sh tools/environment.sh '$(PYTHON)' .
	@touch $@

.venv/.installed-dev: pyproject.toml tools/environment.sh
	@sh tools/environment.sh '$(PYTHON)' '.[dev]'
	@touch .venv/.installed $@
