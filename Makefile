# Every target sets up what it needs by itself: `make demo` or `make test` can be the first command on a fresh machine.
PYTHON ?= python3
BIN := .venv/bin
SAMPLE := --data_dir data/sample
GF := data/gf_sample
SHORT := --epochs 4 --steps_per_epoch 15
BROWSERS := chromium-headless-shell chromium chromium-browser google-chrome google-chrome-stable chrome microsoft-edge
# The demo's networks are small and start from ImageNet weights: two minutes of training on two cores, not hours on a GPU.
# Many steps of few windows, all at one scale: the fields' rows are 3 px apart, and resampling would blur them. The second goes
# on from the first with another loss and other windows: so few steps from ImageNet's weights would leave it far behind.
SMALL := --train --backbone tf_efficientnet_lite0 --crop_size 256 --batch_size 4 --min_scale 1 --max_scale 1 \
         --optimizer adamw --weight_decay 0.01 --ema 0.95 --aux_weight 0 --val_period 4
FIRST := --model attention_unet --class_weights balanced --base_lr 0.002 --epochs 4 --steps_per_epoch 60
SECOND := --init_from cross_entropy/demo --seed 1 --base_lr 0.001 --epochs 2 --steps_per_epoch 20

.PHONY: setup demo demo-gf test browser test-slow lint bench docs clean

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	@# torch alone and first: so pip takes the build that this machine offers, before anything else can ask for another.
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev,cpu]'
	@# Half a minute now, not at the first run of every step. Where it fails, first runs are slower, and all else is as ever.
	-$(BIN)/python -m jingwei.cli.compile_ahead
	touch .venv/ready

demo: setup
	$(eval START := $(shell $(BIN)/python benchmarks/demo_weights.py))
	$(BIN)/python data/make_sample.py
	$(BIN)/python generate_train_data.py $(SAMPLE) --crop_size 512
	$(BIN)/python generate_test_data.py $(SAMPLE)
	$(BIN)/python train.py $(SAMPLE) $(SMALL) $(FIRST) $(START) --exp demo
	$(BIN)/python Unet_resnet34/train.py $(SAMPLE) $(SMALL) $(SECOND) --exp demo
	$(BIN)/python predict.py $(SAMPLE) --window 512 --overlap 128 --probabilities
	$(BIN)/python vote.py $(SAMPLE) --soft --weights auto
	$(BIN)/python fill_hole.py $(SAMPLE)
	$(BIN)/python benchmarks/demo_table.py $(SAMPLE)
	$(BIN)/python polygons.py $(SAMPLE) --simplify 1.5
	$(BIN)/python report.py $(SAMPLE)

demo-gf: setup
	$(eval START := $(shell $(BIN)/python benchmarks/demo_weights.py))
	$(BIN)/python data/make_gf_sample.py
	$(BIN)/python train.py --config configs/gf2_cpu.json $(SHORT) $(START)
	$(BIN)/python inference.py $(GF)/optical/test $(GF)/maps/optical
	$(BIN)/python evaluate.py --prediction $(GF)/maps/optical --label $(GF)/optical/test/lbl --legend gf2
	$(BIN)/python train.py --config configs/gf3_cpu.json $(SHORT) $(START)
	$(BIN)/python inference.py $(GF)/sar/test $(GF)/maps/sar
	$(BIN)/python evaluate.py --prediction $(GF)/maps/sar --label $(GF)/sar/test/lbl --legend gf3

# Whole files at a time, the longest first (tests/conftest.py). Each process has one thread: those that share the cores
# wait for each other's threads. Compiled modules are kept, also where Python is told not to: else each of these processes,
# and of those that the tests start, compiles the package and pytest's version of the tests anew.
test: setup browser
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n auto --dist loadfile --no-loadscope-reorder

# The report's test opens it in a real browser: one of the system's packages, where it may be installed. Else the test is
# skipped and says so. The shell is Chromium without its windows, which cost much of the work.
browser:
	@for name in $(BROWSERS); do command -v $$name >/dev/null && exit 0; done; \
	if [ "$$(id -u)" = 0 ]; then as_root=; else as_root="sudo -n"; fi; \
	get="$$as_root apt-get install -y --no-install-recommends"; \
	{ $$as_root apt-get update && { $$get chromium-headless-shell || $$get chromium; }; } >/dev/null 2>&1 \
	|| echo "no browser here, and none could be installed: the tests in a browser are skipped"

test-slow: setup
	$(BIN)/python -m pytest -m slow

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The documentation as a site, site/index.html. Any warning is an error (mkdocs.yml).
docs: .venv/docs-ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

.venv/docs-ready: .venv/ready
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[docs]'
	touch .venv/docs-ready

bench: setup
	$(BIN)/python benchmarks/cut.py
	$(BIN)/python benchmarks/predict.py
	$(BIN)/python benchmarks/vote.py
	$(BIN)/python benchmarks/fill.py
	$(BIN)/python benchmarks/polygons.py
	$(BIN)/python benchmarks/report.py

# What lies right in data/sample stays: points that somebody may have labelled (evaluate.py --sample).
clean:
	rm -rf .venv site data/sample/*/ data/gf_sample data/benchmark data/models
