"""Cloud-Optimised GeoTIFFs, for viewers that read over the network: GDAL orders the file, we keep it whole."""

from pathlib import Path

import rasterio.shutil
from rasterio.errors import RasterioError, RasterioIOError

from jingwei.errors import OutputError
from jingwei.raster.gdal import gdal_errors
from jingwei.raster.map_legend import legend_of_map
from jingwei.raster.reading import Raster
from jingwei.raster.styles import write_class_style
from jingwei.system.atomic import room_at, whole_or_nothing

TILE = 512  # px a side, as GDAL's driver has it


def write_cog(labels: Path, target: Path, workers: int = 1) -> None:
    """Copies a label map into a Cloud-Optimised GeoTIFF: deflated tiles, overviews that show the commonest class.

    Colours, georeference, nodata and tags come along. Whole or not at all; GDAL's temporary overviews lie beside it.
    Raises OutputError where it can't be written.
    """
    how = {"compress": "deflate", "predictor": "no", "blocksize": TILE, "bigtiff": "if_safer", "num_threads": workers}
    how |= {"overviews": "auto", "overview_resampling": "mode", "overview_compress": "deflate"}
    with Raster(labels) as source, whole_or_nothing(target) as part, gdal_errors() as errors:
        source.check_all()  # GDAL reads it by itself
        try:
            rasterio.shutil.copy(source.path, part, driver="COG", **how)
            if errors:
                raise RasterioIOError(errors[0])
        except (OSError, RasterioError) as error:
            raise OutputError(target, f"can't be written ({error})", room_at(Path(target))) from error
    if legend := legend_of_map(target):
        write_class_style(Path(target), legend)
