"""Make sample scenes: a made-up county in the contest's folders, names and formats, the same for the same seed.

    python data/make_sample.py                             four small scenes, two to train and two to test
    python data/make_sample.py --size 47161x50141          image_1 and its label at the contest's full size
    python data/make_sample.py --size 77470x46050 --scenes 2 --labels_only

Writes data/sample/jingwei_round1_train_20190619/image_1.png, image_1_label.png (and 2),
data/sample/jingwei_round1_test_a_20190619/image_3.png (and 4), and the labels of the test scenes, which a contest
keeps to itself, as data/sample/truth/image_3_label.png. Images are RGBA with alpha 0 outside the flight area, labels
hold class ids, 0 outside the flight area. Scenes that are there already are kept; sample.json remembers their settings.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it runs from anywhere, installed or not

from jingwei.cli.sample import sample_command

if __name__ == "__main__":
    sample_command()
