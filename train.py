"""Step 2, train: DeepLabV3-ResNet50 with cross entropy.

    python train.py --train --exp bn_lr7e-3 --epochs 20 --base_lr 0.007
    python train.py --exp bn_lr7e-3

The first trains, the second scores. Reads data/train/; writes data/model/cross_entropy/<exp>/.
"""

from jingwei.cli import train_command
from jingwei.recipes import CROSS_ENTROPY

if __name__ == "__main__":
    train_command(CROSS_ENTROPY)
