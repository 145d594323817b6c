"""Model checkpoints, and the conversion of released weights into them."""
