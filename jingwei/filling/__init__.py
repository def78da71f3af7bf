"""Step 5: holes and small regions of a map, filled."""
