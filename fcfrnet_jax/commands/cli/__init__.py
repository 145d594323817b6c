"""The command line itself: flags, config files and help; it imports no jax."""
