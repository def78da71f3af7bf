"""Step 2, train: focal loss + Lovász-Softmax on windows of 512 and 448 px in turn.

    python train_multiscale.py --train --exp bn_lr7e-3 --epochs 30 --base_lr 0.007
    python train_multiscale.py --exp bn_lr7e-3

The first trains, the second scores. Reads data/train/; writes data/model/multiscale/<exp>/.
"""

from jingwei.cli.train import train_command
from jingwei.training.recipes import MULTISCALE

if __name__ == "__main__":
    train_command(MULTISCALE)
