"""The parts of `benchmarks/scanners.py`, and the figures and pictures of the model card."""
