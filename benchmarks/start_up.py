"""How long every command takes before it does anything: explaining its flags, and a run that has nothing to do.

    python benchmarks/start_up.py [--repeat 3]

Each is a process of its own; of `--repeat` runs, the one of least CPU time counts. `-h` needs what its flags name; the
empty run is one in a folder without scenes, which every step refuses in a line. An empty interpreter goes along, and
some that only load what steps stand on: numpy, rasterio, numba, torch.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from measure import ROOT, Measured, attempt

from jingwei.cli.steps import STEPS

LOADED = {"python": "", "numpy": "numpy", "rasterio": "numpy, rasterio", "numba": "numpy, numba", "torch": "torch"}
# What a step can't do without; all others find nothing in an empty folder by themselves.
NEEDED = {
    "inference": ("none", "made"),
    "train": ("--train",),
    "train-focalloss": ("--train",),
    "train-swa": ("--train",),
    "train-multiscale": ("--train",),
    "train-unet": ("--train",),
}
MAKING = ("sample", "sample-gf")  # have no empty run


def commands() -> dict[str, tuple[str, ...]]:
    """The runs by name: arguments of Python."""
    runs = {name: ("-c", f"import {modules}" if modules else "") for name, modules in LOADED.items()}
    for step in STEPS:
        runs[f"{step.name} -h"] = ("-m", "jingwei", step.name, "-h")
        if step.name not in MAKING:
            runs[step.name] = ("-m", "jingwei", step.name, *NEEDED.get(step.name, ()))
    return runs


def table(runs: dict[str, Measured]) -> str:
    """A line per run: CPU and wall seconds, peak memory in MiB."""
    lines = ["| command | CPU s | wall s | peak MiB |", "|---|---|---|---|"]
    for name, (seconds, peak, cpu) in runs.items():
        lines.append(f"| {name} | {cpu:.2f} | {seconds:.2f} | {peak:.0f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--repeat", type=int, default=3, help="runs of each (default 3)")
    args = parser.parse_args()
    best: dict[str, Measured] = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(args.repeat):
            for name, words in commands().items():
                status, measured = attempt([sys.executable, *words], cwd=Path(folder), PYTHONPATH=str(ROOT))
                if status not in (0, 1, 2):  # 2 refuses an empty folder
                    sys.exit(f"error: {name}: status {status}")
                best[name] = min(best.get(name, measured), measured, key=lambda figures: figures.cpu_seconds)
    print(table(best))


if __name__ == "__main__":
    main()
