"""Step 2, train: DeepLabV3-ResNet50 with cross entropy; or system B, as a config file says.

    python train.py --train --exp bn_lr7e-3 --epochs 20 --base_lr 0.007
    python train.py --exp bn_lr7e-3
    python train.py -c configs/gf2_pspnet.json

The first trains, the second scores: reads data/train/, writes data/model/cross_entropy/<exp>/. The third reads the
folder that the file names and writes saved/<name>/<time>/.
"""

from jingwei.cli.train import train_command
from jingwei.training.recipes import CROSS_ENTROPY

if __name__ == "__main__":
    train_command(CROSS_ENTROPY, configs=True)
