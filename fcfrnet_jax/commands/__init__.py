"""The commands, one module per task; `cli/` parses the command line. Only they read the config."""
