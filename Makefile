# Each command installs what it needs. `make help` lists all commands.
SHELL       := /bin/bash
.DEFAULT_GOAL := help
PYTHON      ?= python3.11
VENV        := .venv
BIN         := $(VENV)/bin
PIP_INSTALL := pip install --quiet --disable-pip-version-check --constraint requirements/constraints.txt
LOCAL       := $(BIN)/python -m local
JAVA_FOUND  := $(shell { java -version || "$(JAVA_HOME)/bin/java" -version; } 2>&1 | grep -E 'version "(17|21)\.')
NODE_FOUND  := $(shell node --version 2>/dev/null && npm --version 2>/dev/null)
RUNTIME_REQUIREMENTS := requirements/emr.txt requirements/training.txt requirements/serving.txt requirements/local.txt laptop_aws/requirements.txt $(if $(JAVA_FOUND),,requirements/java.txt)
CHECK_REQUIREMENTS   := requirements/training.txt requirements/serving.txt requirements/tests.txt requirements/check.txt
TEST_REQUIREMENTS    := requirements/launch.txt $(if $(NODE_FOUND),,requirements/node.txt)
# What single tests run: Jupyter, and the AWS CLI with ShellCheck.
TOOLS_READY          := .envs/notebook/.ready .envs/aws/.ready
# The fast tests: those not marked slow that import neither Spark nor the embedded AWS. Files that are slow as a whole
# are not even imported.
SLOW_FILES   = $(shell grep -rlx --include='test_*.py' 'pytestmark = pytest.mark.slow' tests)
FAST         = tests -m "not slow" $(addprefix --ignore=tests/,unit/emr unit/statemachines unit/local unit/permissions e2e) $(addprefix --ignore=,$(SLOW_FILES))
CHECKED     := docs contracts functions ncf training serving container emr laptop_aws control local console delivery tests benchmarks examples

MERMAID_SHA256 := 336df803d87a38b70a01e736e666c8f7601d2ce42f5e47c8fafe5d721074b9a3

export PIP_NO_INPUT := 1
export SAM_CLI_TELEMETRY := 0
# Compiled once, and not for each test that imports a function anew: this is a sixth of the tests' processor time.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup assemble demo up down status logs console train check one test lint policies lock unit contract infrastructure conformance e2e browser screenshots browse bench bench-training bench-serving load notebook airflow docs preflight base image release smoke teardown pipelines format clean

help: ## show this list
	@grep -hE '^[a-z0-9_ -]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F '\t' '{printf "  make %-15s %s\n", $$1, $$2}'
	@printf '\n  DATA=path     interactions for demo: CSV, TSV, JSON lines, Parquet and others, or a folder (default: a generated shop)\n'
	@printf '  KIND=append   DATA is what is new since the last full drop; with DAYS=N: learn from the last N days\n'
	@printf '  SPLIT=global-time   test on what comes last in time, not on the last item of each person\n'
	@printf '  USER=name, ITEM=, TIME=, EVENT=, WEIGHT=   columns of DATA, by name or position from 1 (default: guessed when sure)\n'
	@printf '  TIME_FORMAT=pattern, TYPES=buy,cart   form of the times, as M/d/yyyy H:mm; only these event types (docs/how-to/your-data.md)\n'
	@printf '  WORSE=1       demo uploads random data, to see the gate reject the model\n'
	@printf '  TRIAL=1       demo ends with a trial of two models in fast motion, when two have served\n'
	@printf '  DATASET=path  the dataset for train; its options are MODEL=neumf, ARGS="--epochs 5" and others\n'
	@printf '  PYTHON=...    the Python 3.11 to build the environments with (now: %s)\n' '$(PYTHON)'

# --- Set-up: each stamp depends on its requirements, so a second call does nothing ---------------------------------------

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is needed and '$(PYTHON)' was not found. Install it, or call make with PYTHON=/path/to/python3.11" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "'$(PYTHON)' is $$($(PYTHON) -V), but Python 3.11 is needed: call make with PYTHON=/path/to/python3.11" >&2; exit 2; }
	@echo "set-up: environment $(VENV)"
	@$(PYTHON) -m venv $(VENV)

# torch first and by itself: its pin decides between a CPU build and several GB of CUDA (see docs/dependencies.md).
$(VENV)/.torch: requirements/training.txt | $(BIN)/python
	@echo "set-up: torch"
	@$(BIN)/$(PIP_INSTALL) "$$(grep -E '^torch==' requirements/training.txt)"
	@touch $@

$(VENV)/.runtime: $(RUNTIME_REQUIREMENTS) requirements/constraints.txt $(VENV)/.torch
	@echo "set-up: Spark, training, serving and the embedded AWS (about two minutes, once)"
	@$(BIN)/$(PIP_INSTALL) $(addprefix --requirement ,$(RUNTIME_REQUIREMENTS))
	@touch $@

# Not part of the runtime: nothing that is deployed or served draws plots.
$(VENV)/.launch: requirements/launch.txt $(VENV)/.runtime
	@echo "set-up: plots of the learning curves"
	@$(BIN)/$(PIP_INSTALL) --requirement requirements/launch.txt
	@touch $@

# The needs of `make check` and `make lint`: no Spark, no embedded AWS, no SAM.
$(VENV)/.check: $(CHECK_REQUIREMENTS) requirements/constraints.txt $(VENV)/.torch
	@echo "set-up: training, serving and the tools of the checks"
	@$(BIN)/$(PIP_INSTALL) $(addprefix --requirement ,$(CHECK_REQUIREMENTS))
	@touch $@

$(VENV)/.tests: $(TEST_REQUIREMENTS) $(VENV)/.runtime $(VENV)/.check
	@echo "set-up: test tools"
	@$(BIN)/$(PIP_INSTALL) $(addprefix --requirement ,$(TEST_REQUIREMENTS))
	@touch $@

.envs/sam/.ready: requirements/sam.txt | $(BIN)/python
	@echo "set-up: AWS SAM CLI, in its own environment"
	@rm -rf .envs/sam && $(PYTHON) -m venv .envs/sam
	@.envs/sam/bin/pip install --quiet --disable-pip-version-check --requirement requirements/sam.txt
	@touch $@

.envs/lambda/.ready: requirements/lambda-runtime.txt | $(BIN)/python
	@echo "set-up: the packages of AWS's Lambda runtime"
	@rm -rf .envs/lambda && $(PYTHON) -m venv .envs/lambda
	@.envs/lambda/bin/pip install --quiet --disable-pip-version-check --requirement requirements/lambda-runtime.txt
	@touch $@

setup: $(VENV)/.runtime .envs/sam/.ready .envs/lambda/.ready ## install what demo and up need (they call it)

assemble: $(VENV)/.check ## write template.yaml, the state machines, and the tables of docs/reference/ from their sources
	@PYTHONPATH=functions $(BIN)/python -m recommend.openapi > docs/reference/.openapi.new && mv docs/reference/.openapi.new docs/reference/openapi.json
	@$(BIN)/python -m delivery.assembly

# An option of demo, from the command line alone: USER is in every shell's environment.
told = $(if $(findstring command line,$(origin $(1))),--$(2) "$($(1))")

# --- The product on this machine ------------------------------------------------------------------------------------------

demo: setup ## upload interactions and follow them to served recommendations, on an embedded AWS; ends with a link to the console
	@$(LOCAL) demo $(if $(DATA),--data "$(DATA)") $(if $(WORSE),--worse) $(call told,USER,user-column) $(call told,ITEM,item-column) \
		$(call told,TIME,time-column) $(call told,TIME_FORMAT,time-format) $(call told,EVENT,event-column) $(call told,WEIGHT,weight-column) $(call told,TYPES,event-types) \
		$(call told,WEIGHTS,weights) $(call told,LEAST,least) $(call told,VALUES,values) $(call told,HALF_LIFE,half-life) $(call told,BOUGHT,bought) \
		$(call told,KIND,kind) $(call told,DAYS,history-days) $(call told,SPLIT,split) $(if $(TRIAL),&& $(LOCAL) trial)

up: setup ## start the embedded AWS and deploy the application
	@$(LOCAL) up

down: ## stop the embedded AWS and its console; the state stays for the next `make up`
	@if $(BIN)/python -c 'import local.cli' 2>/dev/null; then $(LOCAL) down; else echo "nothing is installed here"; fi

status: ## show what runs, which model serves, and the latest runs with their reasons
	@if [ -x $(BIN)/python ]; then $(LOCAL) status; else echo "nothing is installed here: run make demo"; fi

logs: ## show the latest log lines of every part
	@$(LOCAL) logs

train: $(VENV)/.launch ## train on DATASET, a folder with manifest.json, and compare with the other runs in runs/
	@test -n "$(DATASET)" || { echo "DATASET is missing: make train DATASET=path [MODEL=neumf] [ARGS=\"--epochs 5\"]; .venv/bin/python -m training.launch --help lists the options" >&2; exit 2; }
	@$(BIN)/python -m training.launch "$(DATASET)" $(if $(MODEL),--model "$(MODEL)") $(ARGS)

# --- Checks -----------------------------------------------------------------------------------------------------------------

check: lint policies ## lint, checkov and cfn-lint on the template, and the fast tests, in little more than a minute: before every commit
	@$(BIN)/python -m pytest $(FAST) --numprocesses 2 --dist loadfile --no-loadscope-reorder

one: $(VENV)/.check ## the tests with TEST in their names: make one TEST=shown_to_be_better
	@test -n "$(TEST)" || { echo "TEST is missing: make one TEST=part_of_its_name" >&2; exit 2; }
	@found=$$(grep -rl --include='test_*.py' "def test_.*$(TEST)" tests laptop_aws/tests); \
		test -n "$$found" || { echo "no test has $(TEST) in its name" >&2; exit 2; }; \
		own=$$(grep -E '^tests/(browser|unit/console)/' <<< "$$found"); rest=$$(grep -vE '^tests/(browser|unit/console)/' <<< "$$found"); \
		{ test -z "$$rest" || $(BIN)/python -m pytest $$rest -k "$(TEST)"; } && \
		{ test -z "$$own" || { $(MAKE) --no-print-directory .envs/browser/.ready && .envs/browser/bin/python -m pytest $$own -k "$(TEST)"; }; }

test: $(BIN)/python ## everything: lint, then unit, contract, infrastructure, conformance, pipelines, end-to-end and browser tests
	@$(MAKE) --no-print-directory ready-beside & beside=$$!; $(MAKE) --no-print-directory ready-in-venv; result=$$?; wait $$beside && exit $$result
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory --jobs 2 --keep-going tests-in-venv tests-beside

# An installation takes one core, so two go on at once; never two in one environment.
.PHONY: ready-in-venv ready-beside tests-in-venv tests-beside
ready-in-venv: $(VENV)/.tests .envs/notebook/.ready
ready-beside: .envs/sam/.ready .envs/lambda/.ready .envs/aws/.ready .envs/browser/.ready .envs/airflow/.ready .envs/delivery/.ready .envs/docs/.ready

# The tests of the embedded AWS and of the deployed stack wait for most of their time: three processes on two cores, and
# beside them, one after the other, what has an environment of its own; its output follows when it has ended.
tests-in-venv:
	@$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder --ignore tests/airflow --ignore tests/pipelines

tests-beside:
	@shown=$$(mktemp); $(MAKE) --no-print-directory --keep-going browser airflow pipelines > "$$shown" 2>&1; result=$$?; \
		cat "$$shown"; rm -f "$$shown"; exit $$result

lint: $(VENV)/.check ## check format, style, types and the import rules
	@$(BIN)/ruff format --check $(CHECKED)
	@$(BIN)/ruff check $(CHECKED)
	@$(BIN)/python tests/typecheck.py
	@PYTHONPATH=.:functions:emr $(BIN)/python tests/imports.py
	@$(BIN)/python -m delivery.assembly --check

# In an environment of its own: it pins what the project does not. Its result holds as long as the files do.
.envs/checkov/.ready: requirements/checkov.txt | $(BIN)/python
	@echo "set-up: checkov, in its own environment"
	@rm -rf .envs/checkov && $(PYTHON) -m venv .envs/checkov
	@.envs/checkov/bin/pip install --quiet --disable-pip-version-check --requirement requirements/checkov.txt
	@touch $@

.envs/checkov/.passed: .envs/checkov/.ready template.yaml tests/policies.py tests/infrastructure/exceptions.yaml | $(VENV)/.check
	@$(BIN)/python -m tests.policies .envs/checkov/bin/checkov
	@touch $@

policies: .envs/checkov/.passed ## checkov and cfn-lint on the template, if it has changed; exceptions: tests/infrastructure/exceptions.yaml

.envs/lock/.ready: requirements/lock.txt | $(BIN)/python
	@echo "set-up: pip-tools, in its own environment"
	@rm -rf .envs/lock && $(PYTHON) -m venv .envs/lock
	@.envs/lock/bin/pip install --quiet --disable-pip-version-check --requirement requirements/lock.txt
	@touch $@

# torch is the base image's. The packages need no others, which pip would tell: with hashes it takes nothing that is not listed.
lock: .envs/lock/.ready ## write requirements/image.txt, what the image installs with hashes, from training.txt and serving.txt
	@{ echo '# What the image installs, with the hashes of its files: made by `make lock` from training.txt and serving.txt, torch apart.'; \
		grep -hE '^[a-z]' requirements/training.txt requirements/serving.txt | grep -v '^torch==' | .envs/lock/bin/pip-compile --quiet \
		--generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links --no-emit-options --strip-extras --output-file - -; } > requirements/.image.new
	@mv requirements/.image.new requirements/image.txt

unit contract infrastructure e2e: setup $(VENV)/.tests $(TOOLS_READY) ## one tier of the tests
	@$(BIN)/python -m pytest tests/$@

pipelines: setup $(VENV)/.tests .envs/delivery/.ready ## the tests of the way to production: the image's build, the chain's roles, the four pipelines
	@$(BIN)/python -m pytest tests/pipelines

# What .venv cannot import: the console, and the tests of it in Chromium, which use a stack of their own.
browser: setup .envs/browser/.ready .envs/docs/.ready ## the tests of the console: its units, and its pages and those of the docs site in a real browser
	@.envs/browser/bin/python -m pytest tests/unit/console tests/browser

conformance: setup $(VENV)/.tests ## the tests of the embedded AWS: unit and conformance
	@$(BIN)/python -m pytest laptop_aws/tests

format: $(VENV)/.check ## format the code
	@$(BIN)/ruff format $(CHECKED)
	@$(BIN)/ruff check --fix $(CHECKED)

bench: setup ## the benchmarks of the gate, scoring, preparation and the function recommend, as tables
	@$(BIN)/python -m benchmarks

bench-training: setup ## the benchmarks of training: DATA=folder of MovieLens-1M in the split of He et al. 2017
	@$(BIN)/python -m benchmarks.training --data "$(or $(DATA),data/ml-1m)"

bench-serving: setup ## the benchmarks of the model server, compared with TorchServe and FastAPI (builds their environment once)
	@$(BIN)/python -m benchmarks.serving $(ARGS)

# An environment of its own: nothing that is deployed or tested in the fast tier needs a web server of this size.
.envs/console/.ready: requirements/console.txt | $(BIN)/python
	@echo "set-up: the console in the browser, in its own environment"
	@rm -rf .envs/console && $(PYTHON) -m venv .envs/console
	@.envs/console/bin/pip install --quiet --disable-pip-version-check --requirement requirements/console.txt
	@touch $@

console: .envs/console/.ready ## the console in the browser, for the stack of `make up`: ARGS="--write", or ARGS="--profile … --stack …"
	@.envs/console/bin/python -m console $(ARGS)

.envs/browser/.ready: requirements/browser.txt requirements/console.txt $(if $(NODE_FOUND),,requirements/node.txt) | $(BIN)/python
	@echo "set-up: the console and a driver of browsers, in their own environment"
	@rm -rf .envs/browser && $(PYTHON) -m venv .envs/browser
	@.envs/browser/bin/pip install --quiet --disable-pip-version-check --requirement requirements/browser.txt $(if $(NODE_FOUND),,--requirement requirements/node.txt)
	@touch $@

screenshots: .envs/browser/.ready ## pictures of every page of the console, light and dark, in OUT (default: screenshots/), of the stack of `make up`
	@.envs/browser/bin/python -m console.screenshots --out "$(or $(OUT),screenshots)" --chromium "$$(.envs/browser/bin/python -m tests.browser.chromium)" $(ARGS)

.envs/browse/.ready: requirements/browse.txt | $(BIN)/python
	@echo "set-up: StackPort, in its own environment"
	@rm -rf .envs/browse && $(PYTHON) -m venv .envs/browse
	@.envs/browse/bin/pip install --quiet --disable-pip-version-check --requirement requirements/browse.txt
	@touch $@

# By uvicorn and not by its own command, which listens on all interfaces; without the machine's AWS settings, and read-only.
browse: .envs/browse/.ready ## look at buckets, tables, queues and logs of the embedded AWS with StackPort: http://127.0.0.1:8091
	@echo "StackPort: http://127.0.0.1:8091 (Ctrl-C stops it)"
	@env -u AWS_PROFILE -u AWS_SESSION_TOKEN AWS_ACCESS_KEY_ID=000000000000 AWS_SECRET_ACCESS_KEY=local AWS_REGION=us-east-1 \
		AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_ENDPOINT_URL="http://127.0.0.1:$${NCF_LOCAL_PORT:-4566}" \
		STACKPORT_ALLOW_WRITES=false STACKPORT_LEARN=false STACKPORT_DATA_DIR=.envs/browse/data \
		.envs/browse/bin/uvicorn backend.main:app --host 127.0.0.1 --port 8091 --log-level warning

.envs/load/.ready: requirements/load.txt | $(BIN)/python
	@echo "set-up: Locust, in its own environment"
	@rm -rf .envs/load && $(PYTHON) -m venv .envs/load
	@.envs/load/bin/pip install --quiet --disable-pip-version-check --requirement requirements/load.txt
	@touch $@

load: setup .envs/load/.ready ## simulate customers on the stack of `make up`, with Locust: ARGS="--users 20 --run-time 30s"
	@AWS_ACCESS_KEY_ID=000000000000 AWS_SECRET_ACCESS_KEY=local .envs/load/bin/locust -f tests/load/locustfile.py --headless --only-summary --users 10 --spawn-rate 10 --run-time 20s --host "$$($(LOCAL) url)" $(ARGS)

# The product's packages, and Jupyter's beside them: nothing is installed twice.
.envs/notebook/.ready: requirements/notebook.txt $(VENV)/.launch
	@echo "set-up: Jupyter for the notebook, in its own environment"
	@rm -rf .envs/notebook && $(PYTHON) -m venv .envs/notebook
	@printf '%s\n' '$(CURDIR)'/$(VENV)/lib/python3.11/site-packages '$(CURDIR)' > .envs/notebook/lib/python3.11/site-packages/product.pth
	@.envs/notebook/bin/$(PIP_INSTALL) --requirement requirements/notebook.txt
	@touch $@

notebook: .envs/notebook/.ready ## run examples/train_and_recommend.ipynb and write its outputs into it: 20 s
	@.envs/notebook/bin/jupyter execute --inplace --NotebookClient.record_timing=False examples/train_and_recommend.ipynb

.envs/aws/.ready: requirements/aws.txt | $(BIN)/python
	@echo "set-up: the AWS CLI and ShellCheck, in their own environment"
	@rm -rf .envs/aws && $(PYTHON) -m venv .envs/aws
	@.envs/aws/bin/pip install --quiet --disable-pip-version-check --requirement requirements/aws.txt
	@touch $@

.envs/airflow/.ready: requirements/airflow.txt | $(BIN)/python
	@echo "set-up: Airflow with the amazon provider, in its own environment"
	@rm -rf .envs/airflow && $(PYTHON) -m venv .envs/airflow
	@.envs/airflow/bin/pip install --quiet --disable-pip-version-check --no-deps --requirement requirements/airflow.txt
	@touch $@

airflow: setup $(VENV)/.tests .envs/airflow/.ready ## the tests of the Airflow DAG, executed by Airflow on the embedded AWS
	@$(BIN)/python -m pytest tests/airflow

# Mermaid's one file, from npm, by its checksum: its 60 dependencies are in it already.
.envs/docs/.ready: requirements/docs.txt $(if $(NODE_FOUND),,requirements/node.txt) | $(BIN)/python
	@echo "set-up: Sphinx and Mermaid for the docs site, in their own environment"
	@rm -rf .envs/docs && $(PYTHON) -m venv .envs/docs
	@.envs/docs/bin/pip install --quiet --disable-pip-version-check --requirement requirements/docs.txt $(if $(NODE_FOUND),,--requirement requirements/node.txt)
	@cd .envs/docs && $$(cd $(CURDIR) && .envs/docs/bin/python -c 'from tests.infrastructure import node; print(*node.find()[1])') pack --silent mermaid@12.3.0 > /dev/null
	@cd .envs/docs && mkdir mermaid && tar -xzf mermaid-12.3.0.tgz -C mermaid --strip-components 2 package/dist/mermaid.min.js && rm mermaid-12.3.0.tgz
	@echo "$(MERMAID_SHA256)  .envs/docs/mermaid/mermaid.min.js" | sha256sum --check --quiet
	@touch $@

# All pages anew, so that each warning shows, and any is an error. `serve` builds what has changed.
SPHINX = .envs/docs/bin/sphinx-build --quiet -c docs -d .envs/docs/doctrees . site
docs: .envs/docs/.ready ## the docs site in site/, from the Markdown files: 17 s; ARGS=serve: on http://127.0.0.1:8092, rebuilt at each change
	@$(SPHINX) --fresh-env --write-all --fail-on-warning --keep-going
	@test "$(ARGS)" != serve || { echo "docs: http://127.0.0.1:8092 (Ctrl-C stops it)"; \
		.envs/docs/bin/python -m http.server --bind 127.0.0.1 --directory site 8092 > /dev/null 2>&1 & trap "kill $$!" EXIT; \
		.envs/docs/bin/watchfiles "$(SPHINX)" docs laptop_aws/docs $(wildcard *.md laptop_aws/*.md); }

# --- An account: the targets that every pipeline calls (docs/deploying.md) ------------------------------------------------

.envs/delivery/.ready: requirements/delivery.txt
	@echo "set-up: the tools of the delivery, in their own environment"
	@rm -rf .envs/delivery && $(PYTHON) -m venv .envs/delivery
	@.envs/delivery/bin/pip install --quiet --disable-pip-version-check --requirement requirements/delivery.txt
	@touch $@

# ARGS is for options, as ARGS="--region eu-west-1 --profile shop".
DELIVERY = .envs/delivery/bin/python -m delivery $@ --environment "$(or $(ENVIRONMENT),dev)" $(if $(CHAIN),--chain "$(CHAIN)") $(ARGS)

preflight: .envs/delivery/.ready ## before a stack on AWS, what would stop it, and what it costs: ENVIRONMENT=dev ARGS="--region …"
	@$(DELIVERY)

image: .envs/delivery/.ready ## the image that trains and serves, of this commit, by CodeBuild; ARGS=--here: by the Docker of this machine
	@$(DELIVERY)

base: .envs/delivery/.ready ## write the digest of the base image of now into container/Dockerfile, for all builds from then on
	@$(DELIVERY)

release: .envs/delivery/.ready .envs/sam/.ready ## preflight, sam build and sam deploy: ENVIRONMENT=staging
	@$(DELIVERY)

smoke: .envs/delivery/.ready ## drop a small shop, wait for its run, ask it: ENVIRONMENT=staging; in prod, ask only
	@$(DELIVERY)

teardown: .envs/delivery/.ready ## remove a stack with all that costs: ENVIRONMENT=dev ARGS=--yes
	@$(DELIVERY)

clean: down ## remove the environments, the state of the embedded AWS and every build
	@rm -rf $(VENV) .envs .local .aws-sam site .pytest_cache .mypy_cache .ruff_cache
