"""How work runs: streaming on threads, files written whole or not at all, progress, interrupts, schedulers."""
