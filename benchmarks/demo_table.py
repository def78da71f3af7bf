"""The demo's last step: every stage against the kept truth, beside a classifier that sees colours alone.

python benchmarks/demo_table.py --data_dir data/sample
"""

import argparse
from pathlib import Path

from colour_classifier import colour_confusion

from jingwei.evaluation.scenes import score_stages, stage_table
from jingwei.legend import JINGWEI
from jingwei.workspace import Workspace


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--data_dir", type=Path, default=Path("data/sample"))
    workspace = Workspace(parser.parse_args().data_dir)
    stages = score_stages(workspace, JINGWEI)
    print(stage_table({"colours alone": colour_confusion(workspace.root)} | stages, JINGWEI))
    scores = {name: matrix.mean_iou(JINGWEI.foreground) for name, matrix in stages.items()}
    best = max(score for name, score in scores.items() if name not in ("vote", "filled"))
    print(f"vote {100 * (scores['vote'] - best):+.1f} points of mIoU over the best single model,", end=" ")
    print(f"filled {100 * (scores['filled'] - scores['vote']):+.1f} over the vote")
    print("to look at:")
    pictures = [*workspace.train.glob("split_*.png"), *workspace.models.glob("*/*/curves.png")]
    for path in sorted([*pictures, *(workspace.root / "submit").glob("*.png")]):
        print(f"  {path}")


if __name__ == "__main__":
    main()
