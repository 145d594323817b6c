"""Evaluation of depth maps: the maps, their metrics and the loop over frames."""
