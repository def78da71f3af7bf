"""Step 3, predict with the attention U-Net: the root's predict.py, here for those who look for it here.

python Unet_resnet34/predict.py --exp attention_unet/unet
"""

from jingwei.cli.predict import predict_command

if __name__ == "__main__":
    predict_command()
