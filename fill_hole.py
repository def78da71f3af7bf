"""Step 5, fill: holes of background inside one class take that class.

    python fill_hole.py --data_dir data

Reads data/test/maskN/vote.tif; writes filled.tif there, data/submit/image_N_predict.png and fill_vis_N.png.
"""

from jingwei.cli.fill import fill_hole_command

if __name__ == "__main__":
    fill_hole_command()
