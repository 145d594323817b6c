"""Training on a pool of rendered frames."""
