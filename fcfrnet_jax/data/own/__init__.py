"""Data sets that are described by the patterns of their files, with files of any kind."""
