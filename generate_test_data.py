"""Step 1, cut: test scenes into tiled GeoTIFFs, of which any window can be read at once.

    python generate_test_data.py --data_dir data

Reads data/*test*/image_N.png; writes data/test/imageN/image_N.tif and makes data/test/maskN/.
"""

from jingwei.cli.cut import generate_test_data_command

if __name__ == "__main__":
    generate_test_data_command()
