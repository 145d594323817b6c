"""Hostile checkpoints in numbers: `python -m tests.hostile --cases 3000`."""
