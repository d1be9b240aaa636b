# Everything a developer or a night job calls. `make help` lists it.
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
DEMO   := build/demo
DATA   ?= $(DEMO)/data
ROWS   ?= 20000
TRAINED ?= ../nano-trained
N      ?= 2000
WORKERS ?= 1
POOL_PORT ?= 50000
KBPS ?= 32
SHORT ?=
JOB_PORT  ?= 8099

.DEFAULT_GOAL := help
.PHONY: report-assets help setup demo demo-data test test-fast golden lint bench bench-index sound page-check cluster-check prism-check soak train clean worker-pool job-service docs

help:  ## list the targets
	@awk -F ':.*## *' '/^[a-z-]+:.*##/ {printf "%-14s%s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP)  ## make .venv with the pinned packages and the project itself (once)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(STAMP): requirements/lock.txt setup.py pyproject.toml | $(BIN)/python
	# The lock is complete; two packages in it name others that they can do without (requirements/overrides.in).
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements/lock.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(DEMO)/data/captions.json  ## the whole job on real music and photographs: set up, index, compose, report
	$(BIN)/image2music index --captions $(DEMO)/data/captions.json --midi_root $(DEMO)/data/midi --index $(DEMO)/tunes.lance
	$(BIN)/image2music compose --images $(DEMO)/data/pictures --index $(DEMO)/tunes.lance --output $(DEMO)/out --overwrite
	$(BIN)/image2music report --input $(DEMO)/out

demo-data: $(DEMO)/data/captions.json  ## MIDI files with captions and photographs, taken from installed packages

$(DEMO)/data/captions.json: | $(STAMP)
	$(BIN)/python -m image2music.demo --output $(DEMO)/data

report-assets:  ## not needed any more: reports draw their scores themselves
	@echo "not needed any more: reports draw their scores themselves"

page-check:  ## needs a Chromium: use the demo's report as a person would, weigh one of 2,000 pictures
	$(BIN)/python -m benchmarks.page_check --report $(DEMO)/out/report --shots build/page-check
	$(BIN)/python -m benchmarks.page_weight --out $(DEMO)/out

test: $(STAMP)  ## run all tests
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-fast: $(STAMP)  ## run the tests that start no processes and take no longer than two seconds each
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not process and not slow"

golden: $(STAMP)  ## write tests/fixtures/golden.json anew, after a rule was changed and its version raised
	$(BIN)/python -m pytest tests/test_golden.py --renew-golden

lint: $(STAMP)  ## ruff (rules and format) and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(DEMO)/data/captions.json  ## measure against peers; DATA=DIR measures on other files
	$(BIN)/python -m benchmarks.bench --data $(DATA)

cluster-check: $(DEMO)/data/captions.json  ## needs root on Linux: three hosts in network namespaces, an S3 server, kills and cuts; SHORT=--short
	$(BIN)/python -m benchmarks.cluster_check --demo $(DEMO) $(SHORT)

soak: $(DEMO)/data/captions.json  ## a long job, watched for its rate and memory; N=10000 for a night
	test -d $(DEMO)/tunes.lance || $(BIN)/image2music index --captions $(DEMO)/data/captions.json --midi_root $(DEMO)/data/midi --index $(DEMO)/tunes.lance
	$(BIN)/python -m benchmarks.soak --pictures $(N) --workers $(WORKERS) --demo $(DEMO)

bench-index: $(DEMO)/data/captions.json  ## measure the tune index; ROWS=168385 for MidiCaps' size, DATA=DIR for other MIDI
	$(BIN)/python -m benchmarks.bench_index --rows $(ROWS) --data $(DATA)

# Beam starts `python` for each worker: the one of this environment has to be found first. One thread, as in all of
# image2music's own processes: more of them give other last digits, and wait for each other.
worker-pool:  ## workers for a portable runner on this machine, until it is stopped; POOL_PORT=50000
	PATH="$(abspath $(BIN)):$$PATH" OMP_NUM_THREADS=1 exec $(BIN)/python -m apache_beam.runners.worker.worker_pool_main --service_port=$(POOL_PORT)

job-service:  ## Beam's own portable job service, to try what Flink would do; JOB_PORT=8099
	exec $(BIN)/python -m apache_beam.runners.portability.local_job_service_main --port $(JOB_PORT)

prism-check: $(DEMO)/data/captions.json  ## rows of Beam's other runners (Prism, its job service) against one process; PRISM=PATH
	$(BIN)/python -m benchmarks.prism_check --data $(DEMO)/data

sound: $(STAMP)  ## the sound of one tune in docs/, at most 300 kB: TUNE=FILE.abc, KBPS=24 for a long one
	$(BIN)/image2music midi $(TUNE) --sound opus --kbps $(KBPS) --output docs
	test $$(wc -c < docs/$(basename $(notdir $(TUNE))).opus) -le 300000

docs: $(STAMP)  ## write docs/rows.md, the row dictionary, from schemas/
	$(BIN)/python -m schemas.dictionary

train: $(STAMP)  ## mine nano's pools and train its network: DATA=DIR of scores; TRAINED=DIR takes tables, checkpoints, weights
	test -f $(DATA)/INDEX.csv || { echo "make train DATA=DIR: a folder with INDEX.csv, lieder, quartets and hymns"; exit 1; }
	mkdir -p $(TRAINED)/tables
	$(BIN)/python -m image2music.composers.nano.mining --data $(DATA) --out $(TRAINED)/tables
	$(BIN)/python -m image2music.composers.nano.network.train --data $(DATA) --out $(TRAINED)

clean:  ## remove what was built, keep .venv
	rm -rf build dist *.egg-info
