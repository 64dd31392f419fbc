# Scrip: run it, prove it. `make` alone lists what there is.
# Paths are relative throughout, so a checkout may lie in a folder with spaces.

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
PY := .venv/bin/python
INSTALL = @$(FIND_PYTHON) && "$$python" requirements/install.py

# The first Python that is new enough and can make environments; else one that is new
# enough, so that install.py can say what it lacks.
define FIND_PYTHON
python=; found=; \
for each in $(if $(PYTHON),"$(PYTHON)",python3.13 python3.12 python3.11 python3); do \
  "$$each" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
  found="$${found:-$$each}"; \
  "$$each" -c 'import ensurepip, venv' 2>/dev/null || continue; \
  python="$$each"; break; \
done; \
python="$${python:-$$found}"; \
if [ -z "$$python" ]; then \
  echo "Scrip needs Python 3.11 or newer, and found none. Name one: make PYTHON=/path/to/python3.11" >&2; \
  exit 1; \
fi
endef

.PHONY: help run test lint bench chaos lock clean

help: ## List what make can do here
	@echo "make run     starts everything; make test proves it. All of it:"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

run: ## Start everything, with embedded servers and a demo; RESET=1 starts over, WITHOUT=simulator leaves out
	$(INSTALL) base embedded
	@exec $(PY) -m config.supervisor $(if $(RESET),--reset) $(if $(WITHOUT),--without '$(WITHOUT)')

test: ## Run the tests; ARGS='tests/wallet -k hold' narrows, REQUIRE_ALL=1 allows no skip
	$(INSTALL) base embedded dev
	@exec $(PY) -m pytest -n $(or $(WORKERS),auto) --dist loadfile $(ARGS)

lint: ## Check style, types and the walls between rooms
	$(INSTALL) base embedded dev
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) .venv/bin/lint-imports --no-logo
	@$(PY) -m mypy

bench: ## Measure speed beside its baselines, into var/bench.json; ARGS='ledger' narrows
	$(INSTALL) base embedded dev bench
	@exec $(PY) -m bench $(ARGS)

chaos: ## Run the long fault tests: kills and outages under load
	$(INSTALL) base embedded dev
	@exec $(PY) -m pytest -m chaos --timeout 3600 $(ARGS)

lock: ## Resolve requirements/*.in anew into locks with hashes; ARGS=--upgrade takes newer
	$(INSTALL) dev
	@cd requirements && for each in base embedded dev bench; do \
	  ../$(PY) -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --custom-compile-command 'make lock' $(ARGS) \
	    "$$each.in" --output-file "$$each.txt" || exit 1; \
	done

clean: ## Remove the environment, the caches and all data in var/
	@$(FIND_PYTHON) && "$$python" -m config.supervisor --check-stopped
	@rm -rf .venv var .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
