"""Draw the learning-rate schedules of a run, Poly and One-Cycle beside the others, as `docs/pictures/schedules.svg`.

python docs/draw_schedules.py
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it runs in a clone, installed or not

import matplotlib
from matplotlib.figure import Figure

from jingwei.training.recipes import CROSS_ENTROPY
from jingwei.training.schedules import learning_rate, momentum

PICTURE = Path(__file__).with_name("pictures") / "schedules.svg"
STEPS = 1000
BLUE, ORANGE = "#2B6CB0", "#C05621"
SHOWN = (("poly", "Poly"), ("one_cycle", "One-Cycle"), ("cosine_cycles", "Cosine cycles"))


def draw() -> Figure:
    """A panel for each schedule: learning rate as a share of --base_lr, and the momentum."""
    figure = Figure(figsize=(9, 2.7), layout="constrained")
    panels = figure.subplots(1, len(SHOWN), sharey=True)
    shares = [step / STEPS for step in range(STEPS)]
    for axes, (name, title) in zip(panels, SHOWN, strict=True):
        recipe = replace(CROSS_ENTROPY, schedule=name, base_lr=1.0)
        rates = [learning_rate(step, STEPS, recipe) for step in range(STEPS)]
        moments = [momentum(step, STEPS, recipe) for step in range(STEPS)]
        axes.plot(shares, rates, color=BLUE, label="learning rate / base_lr")
        axes.plot(shares, moments, color=ORANGE, linestyle="--", linewidth=1, label="momentum")
        axes.set(title=title, xlabel="share of the steps", ylim=(0, 1.05), xlim=(0, 1))
        axes.grid(alpha=0.25)
    panels[0].legend(loc="lower left", fontsize=8)
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, default=PICTURE, help="the picture")
    output = parser.parse_args().output
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "jingwei"}):  # text as text; the same each time
        draw().savefig(output, format="svg", metadata={"Date": None, "Creator": None})
