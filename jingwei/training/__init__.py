"""Step 2: recipes, and one loop that runs them all."""
