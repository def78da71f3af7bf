"""Step 1, cut: labelled scenes into crops to train on.

    python generate_train_data.py --data_dir data

Reads data/*train*/image_N.png with image_N_label.png; writes data/train/ (data/, label/, crops.csv, split_*.png).
"""

from jingwei.cli.cut import generate_train_data_command

if __name__ == "__main__":
    generate_train_data_command()
