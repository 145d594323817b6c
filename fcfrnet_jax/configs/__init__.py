"""The packaged configs: `fcfrnet --config=NAME` runs one; a config of yours may start from one."""
