"""What runs a network over windows: torch, or a faster engine beside it."""
