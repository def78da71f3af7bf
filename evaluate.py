"""Step 6, score: every stage's maps against the labels of the test scenes.

    python evaluate.py --data_dir data
    python evaluate.py --prediction MAP --label TRUTH

Reads data/test/maskN/ and data/truth/image_N_label.png; prints IoU per class, mIoU, FWIoU, F1, kappa.
"""

from jingwei.cli.evaluate import evaluate_command

if __name__ == "__main__":
    evaluate_command()
