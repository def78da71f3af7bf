"""What the demo's networks start from: prints `--scratch` where ImageNet weights can be had from nowhere, else nothing.

The hub is asked first, then the package that `make setup` installs. What is found, or missing, is said at the terminal.
"""

import sys

from jingwei.errors import JingweiError
from jingwei.models.lite0 import BACKBONE
from jingwei.models.weights import fetch_usual

COST = "from scratch, the map that the demo ends with is some 20 points of mIoU worse than with ImageNet weights"


def main() -> None:
    try:
        fetch_usual(f"tu-{BACKBONE}")
    except JingweiError as error:
        print(f"{error}\n{COST}", file=sys.stderr)
        print("--scratch")


if __name__ == "__main__":
    main()
