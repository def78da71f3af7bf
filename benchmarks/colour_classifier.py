"""The floor that a network has to beat: gradient boosting that sees one pixel's colour at a time.

    python benchmarks/colour_classifier.py --data_dir data/sample

Learns from pixels of the training scenes, predicts pixels of the test scenes whose labels are known (beside them or in
truth/), and prints IoU per class and the means. Classes are balanced while learning, which helps the mean IoU.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it runs from anywhere, installed or not

from jingwei.errors import InputError, JingweiError
from jingwei.evaluation.metrics import ConfusionMatrix, table
from jingwei.grid import strips
from jingwei.inputs.scenes import Scene
from jingwei.legend import JINGWEI, NODATA, Legend
from jingwei.raster.reading import open_image, open_labels
from jingwei.raster.same_place import check_same_size
from jingwei.workspace import Workspace

STRIP_ROWS = 256
TRAIN_PIXELS = 200_000
TEST_PIXELS = 1_000_000  # a sample of single pixels is as good as all of them: the third digit of an IoU stands


def colour_confusion(data_dir, legend: Legend = JINGWEI) -> ConfusionMatrix:
    """Labels against predictions on random valid pixels of the test scenes. InputError where labels are missing."""
    workspace = Workspace(Path(data_dir))
    test_scenes = [scene for scene in workspace.test_scenes() if scene.label]
    if not test_scenes:
        raise InputError(data_dir, "has no labels of test scenes", "put image_N_label.png into truth/")
    train_scenes = [scene for scene in workspace.train_scenes() if scene.label]
    if not train_scenes:
        raise InputError(data_dir, "has no labels of training scenes", "put image_N_label.png beside image_N.png")
    classifier = HistGradientBoostingClassifier(class_weight="balanced", max_iter=60, random_state=0)
    classifier.fit(*_sample(train_scenes, TRAIN_PIXELS))
    colours, labels = _sample(test_scenes, TEST_PIXELS)
    confusion = ConfusionMatrix(len(legend))
    confusion.update(labels, classifier.predict(colours).astype(np.uint8))
    return confusion


def _sample(scenes: list[Scene], count: int) -> tuple[np.ndarray, np.ndarray]:
    """About `count` random pixels, valid and labelled, of all scenes together: colours (N, bands) and labels (N,)."""
    rng = np.random.default_rng(0)
    colours, labels = [], []
    for scene in scenes:
        with open_image(scene.image) as image, open_labels(scene.label) as label:
            check_same_size(label, image)
            # Drawn before validity is known; about six tenths of a contest's scene are inside the flight area.
            share = count / len(scenes) / (0.6 * image.height * image.width)
            for first, end in strips(image.height, STRIP_ROWS):
                pixels_CHW, valid_HW = image.read_rows(first, end)
                labels_HW = label.read_label_rows(first, end)
                chosen = valid_HW & (labels_HW != NODATA) & (rng.random(valid_HW.shape, np.float32) < share)
                colours.append(pixels_CHW[:, chosen].T)
                labels.append(labels_HW[chosen])
    return np.concatenate(colours), np.concatenate(labels)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; gives the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--data_dir", "--data-dir", type=Path, default=Path("data/sample"), help="the project folder")
    try:
        print(table(colour_confusion(parser.parse_args(arguments).data_dir), JINGWEI))
    except JingweiError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
