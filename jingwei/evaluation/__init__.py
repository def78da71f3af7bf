"""Step 6: scores, areas, and samples for people to label."""
