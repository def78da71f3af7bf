"""The command line: flags to calls, and nothing else."""
