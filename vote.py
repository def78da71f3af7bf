"""Step 4, vote: the majority of all predictions of each scene.

    python vote.py --data_dir data

Reads data/test/maskN/; writes vote.tif and agreement.tif there, and data/submit/image_N_predict.png.
"""

from jingwei.cli.vote import vote_command

if __name__ == "__main__":
    vote_command()
