"""Commands that run a model on files: prediction, coarse maps and submissions."""
