"""The whole pipeline on real labelled scenes: cut, train a small network from scratch, predict, score.

    python benchmarks/real_scenes.py FOLDER --train 2 4 7 8 --test 5

FOLDER holds image_N.EXT with image_N_label.png, and legend.json. Prints the time of each step and the scores of the
test scenes. The network is small enough for half an hour on two cores; run again, it goes on from what is done.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RECIPE = "--scratch --backbone resnet18 --crop_size 256 --batch_size 8 --optimizer adamw"
RATES = "--base_lr 0.001 --weight_decay 0.01 --jitter 0.2 --steps_per_epoch 200"


def lay_out(source: Path, work: Path, numbers: list[int], folder: str, label_folder: str) -> None:
    """Links the scenes into the contest's layout: pictures into `folder`, labels into `label_folder`."""
    for number in numbers:
        label = source / f"image_{number}_label.png"
        pictures = [p for p in sorted(source.glob(f"image_{number}.*")) if p != label]
        if not pictures or not label.exists():
            sys.exit(f"error: {source}: no image_{number} with a label: name other scenes with --train and --test")
        for path, place in ((pictures[0], folder), (label, label_folder)):
            link = work / place / path.name
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                link.symlink_to(path.resolve())


def run(*command: str) -> float:
    """Runs a root script; returns its seconds."""
    print("$ python", *command, flush=True)
    begun = time.perf_counter()
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True)
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", type=int, nargs="+", default=[2, 4, 7, 8])
    parser.add_argument("--test", type=int, nargs="+", default=[5])
    parser.add_argument("--epochs", type=int, default=8, help="of 200 steps each (default 8)")
    parser.add_argument("--work", type=Path, default=ROOT / "data" / "real", help="folder to work in")
    args = parser.parse_args()
    work = args.work.resolve()
    lay_out(args.folder, work, args.train, "scenes_train", "scenes_train")
    lay_out(args.folder, work, args.test, "scenes_test", "truth")
    place, legend = ("--data_dir", str(work)), ("--legend", str(args.folder.resolve() / "legend.json"))
    training = [*RECIPE.split(), *RATES.split(), "--epochs", str(args.epochs)]
    seconds = {
        "cut train": run("generate_train_data.py", *place, *legend),
        "cut test": run("generate_test_data.py", *place),
        "train": run("Unet_resnet34/train.py", "--train", "--exp", "real", *place, *training),
        "predict": run("predict.py", "--tta", "flips", *place),
        "evaluate": run("evaluate.py", *place),
    }
    print("  ".join(f"{name} {value:.0f} s" for name, value in seconds.items()))


if __name__ == "__main__":
    main()
