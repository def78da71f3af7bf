"""Step 4: one map from several."""
