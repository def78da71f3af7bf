"""Step 1: scenes and folders of samples, cut into crops to train on and tiled rasters to predict from."""
