"""Step 2, train: focal loss + Lovász-Softmax, the weights averaged over the ends of cosine cycles.

    python train_swa.py --train --exp bn_lr7e-3 --epochs 30 --base_lr 0.007
    python train_swa.py --exp bn_lr7e-3

The first trains, the second scores. Reads data/train/; writes data/model/swa/<exp>/, swa.pt being the average.
"""

from jingwei.cli.train import train_command
from jingwei.training.recipes import SWA

if __name__ == "__main__":
    train_command(SWA)
