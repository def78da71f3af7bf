"""Step 2, train: focal loss and Lovász-Softmax, which looks after the small classes.

    python train_focalloss.py --train --exp bn_lr7e-3 --epochs 20 --base_lr 0.007

Reads data/train/; writes data/model/focal_lovasz/<exp>/.
"""

from jingwei.cli.train import train_command
from jingwei.training.recipes import FOCAL_LOVASZ

if __name__ == "__main__":
    train_command(FOCAL_LOVASZ)
