"""Step 3, predict and stitch: every trained experiment on every test scene.

    python predict.py --data_dir data

Reads data/test/imageN/ and data/model/; writes data/test/maskN/<recipe>_<exp>.tif and data/submit/image_N_predict.png.
"""

from jingwei.cli.predict import predict_command

if __name__ == "__main__":
    predict_command()
