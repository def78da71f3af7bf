"""Step 3: a trained network over scenes of any size, or over folders of samples."""
