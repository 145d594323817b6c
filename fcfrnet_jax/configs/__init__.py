"""The packaged configs. `fcfrnet --config=NAME` runs one; a user's config can start from one."""
