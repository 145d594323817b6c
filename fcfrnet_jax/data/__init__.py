"""Frames on disk: finding, checking, reading, batching and augmenting them.

TensorFlow is imported when a dataset is opened.
"""
