"""The only room that opens rasters: scenes and labels in, tiled GeoTIFF and PNG out.

Arrays of pixels are bands first (`pixels_CHW`, as GDAL and torch have them) and keep the file's type; validity is a
bool array `valid_HW`; labels are `labels_HW`, uint8, with NODATA where nothing is known.

Giant PNGs can only be read top to bottom: a step back starts again at the first row. So everything here streams down.
"""

import os

# Rows are read in slices whose blocks fit this cache, in megabytes; more brings nothing (GDAL's own default is 5 % of
# the machine). Set before GDAL starts, and only where the user has not.
os.environ.setdefault("GDAL_CACHEMAX", "96")
# What GDAL says comes back to us as errors; this is its copy for a terminal.
os.environ.setdefault("CPL_LOG", os.devnull)
# GDAL's shortcut for a PNG that is read at once gives wrong pixels, and no error, where the file's last chunk is lost.
os.environ["GDAL_PNG_WHOLE_IMAGE_OPTIM"] = "NO"

from jingwei.png import write_png
from jingwei.raster.cog import write_cog
from jingwei.raster.crop_files import crop_suffix, read_crop, read_label_crop, write_crop
from jingwei.raster.reading import Raster, check_same_place, check_same_size, open_image, open_labels, read_tags
from jingwei.raster.tiles import TILE
from jingwei.raster.writing import TiledWriter, without_nodata, write_submission

__all__ = [
    "TILE",
    "Raster",
    "TiledWriter",
    "check_same_place",
    "check_same_size",
    "crop_suffix",
    "open_image",
    "open_labels",
    "read_crop",
    "read_label_crop",
    "read_tags",
    "without_nodata",
    "write_cog",
    "write_crop",
    "write_png",
    "write_submission",
]
