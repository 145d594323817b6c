"""Procedural streets, rendered as frames for depth completion: images, LiDAR scans, ground truth.

`frame` renders one frame, `data_set` writes whole datasets in KITTI's layout, `sample` writes a
small one. `scene` builds the streets, `rays` finds what each ray hits, `picture` computes the image
and `scan` the sparse depth and the ground truth.
"""
