"""Step 8: maps as polygons."""
