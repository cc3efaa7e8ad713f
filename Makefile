# The two commands: `make demo` and `make test`. Both set up .venv from the package index, with the locked hashes.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test setup check lock clean

setup: .venv/.ready

.venv/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Kernos needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "setting up .venv (about a minute)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

demo: setup
	@$(BIN)/kernos model pull default
	@if [ -t 0 ]; then $(BIN)/kernos chat examples/beauty-advisor --as customer; \
	 else for language in zh en; do \
	   $(BIN)/kernos chat examples/beauty-advisor --as customer --play examples/beauty-advisor/demo/customer.$$language.txt || exit $$?; \
	 done; fi

test: setup
	@HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n 2 --dist worksteal

check: setup
	@scripts/check

lock:
	@scripts/lock

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
