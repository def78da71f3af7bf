"""Made-up scenes with known labels, for demos, tests and benchmarks."""
