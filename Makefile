# Every target sets up what it needs by itself: `make demo` or `make test` can be the first command on a fresh machine.
PYTHON ?= python3
BIN := .venv/bin
SAMPLE := --data_dir data/sample
# The demo's networks are small and see fields at about their own scale: minutes on two cores, not hours on a GPU. Two of
# the three are U-Nets: of a strong voter and two weak ones of a kind, the weak ones would win.
SMALL := --train --scratch --backbone resnet18 --crop_size 256 --batch_size 8 --min_scale 0.8 --max_scale 1.25 \
         --optimizer adamw --base_lr 0.002 --weight_decay 0.01

.PHONY: setup demo test test-slow lint bench clean

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	@# torch alone and first: so pip takes the build that this machine offers, before anything else can ask for another.
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev,cpu]'
	touch .venv/ready

demo: setup
	$(BIN)/python data/make_sample.py
	$(BIN)/python generate_train_data.py $(SAMPLE) --crop_size 512
	$(BIN)/python generate_test_data.py $(SAMPLE)
	$(BIN)/python train.py $(SAMPLE) $(SMALL) --exp demo --model attention_unet --epochs 4 --steps_per_epoch 80
	$(BIN)/python train_focalloss.py $(SAMPLE) $(SMALL) --exp demo --output_stride 16 --epochs 4 --steps_per_epoch 80
	$(BIN)/python Unet_resnet34/train.py $(SAMPLE) $(SMALL) --exp demo --epochs 4 --steps_per_epoch 80
	$(BIN)/python predict.py $(SAMPLE) --window 512 --overlap 128
	$(BIN)/python vote.py $(SAMPLE)
	$(BIN)/python fill_hole.py $(SAMPLE)
	$(BIN)/python evaluate.py $(SAMPLE)
	$(BIN)/python benchmarks/demo_table.py $(SAMPLE)

test: setup
	$(BIN)/python -m pytest -m "not slow"

test-slow: setup
	$(BIN)/python -m pytest -m slow

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench: setup
	$(BIN)/python benchmarks/cut.py
	$(BIN)/python benchmarks/predict.py
	$(BIN)/python benchmarks/vote.py
	$(BIN)/python benchmarks/fill.py

clean:
	rm -rf .venv data/sample data/benchmark
