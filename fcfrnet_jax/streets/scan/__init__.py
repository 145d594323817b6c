"""Laser scans of streets and semi-dense ground truth."""
