"""Labels as people draw them: polygons, lines and points, read as the label raster that they stand for."""
