"""System B, predict: every sample of a folder, optical or radar, as a picture in the legend's colours.

    python inference.py input_path output_path --checkpoint saved/<name>/<time>/best.pth

Reads N.tif, or N_HH.tiff, N_HV.tiff, N_VH.tiff, N_VV.tiff; writes N_gt.png and N.xml. Subfolders are mirrored.
"""

from jingwei.cli.inference import inference_command

if __name__ == "__main__":
    inference_command()
