"""Make sample scenes for system B: made-up towns from above, and land as a radar sees it, the same for the same seed.

    python data/make_gf_sample.py                      24 scenes of each kind to train, 8 to validate, 6 to test
    python data/make_gf_sample.py --scenes 8 --size 256 --looks 1

Writes data/gf_sample/optical/ and data/gf_sample/sar/, each with train/img, train/lbl, valid/img, valid/lbl, and test
scenes in test/test_A and test/test_B with their labels in test/lbl. Optical scenes are N.tif (RGB, 8 bits); radar ones
are N_HH.tiff, N_HV.tiff, N_VH.tiff, N_VV.tiff (amplitudes, 16 bits, zero: no data), those to test of mixed sizes.
Labels are N_gt.png in the colours of the legends gf2 and gf3. Scenes that are there already are kept, and those
of an earlier run with other numbers of scenes deleted.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it runs from anywhere, installed or not

from jingwei.cli.sample import sample_gf_command

if __name__ == "__main__":
    sample_gf_command()
