# Each target sets up what it needs on a fresh Debian machine with Python 3.11.
.POSIX:
.PHONY: help demo test check bench soak lock clean

help:
	@echo "make demo          simulated meters, an edge agent and a collector, until Ctrl-C"
	@echo "make demo ONCE=1   a fixed scenario with faults, in under two minutes; the last line is JSON"
	@echo "make test          all tests"
	@echo "make check         format, lint, strict types, all tests"
	@echo "make bench         the benchmarks; writes docs/performance.md"
	@echo "make soak          half an hour of all faults at once (SECONDS=…, SEED=…), then the long tests"
	@echo "make lock          write the lock files anew"

demo:
	@scripts/setup
	@.venv/bin/python -m demo $(if $(ONCE),--once)

test:
	@scripts/setup test
	@.venv/bin/python -m pytest -q -n 2 --dist loadfile

check:
	@scripts/setup test
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/python -m pytest -q -n 2 --dist loadfile

bench:
	@scripts/setup
	@.venv/bin/python -m bench

soak:
	@scripts/setup test
	@.venv/bin/python -m soak $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED))
	@.venv/bin/python -m soak.polls
	@.venv/bin/python -m pytest -q -m soak

lock:
	@scripts/setup
	@scripts/lock

clean:
	rm -rf .venv .demo .bench .soak .soak.jsonl .mypy_cache .ruff_cache .pytest_cache .hypothesis
