"""Step 2, train: U-Net with scSE attention over a ResNet-34.

    python Unet_resnet34/train.py --train --exp unet --epochs 20 --backbone resnet50

Reads data/train/; writes data/model/attention_unet/<exp>/.
"""

from jingwei.cli.train import train_command
from jingwei.training.recipes import ATTENTION_UNET

if __name__ == "__main__":
    train_command(ATTENTION_UNET)
