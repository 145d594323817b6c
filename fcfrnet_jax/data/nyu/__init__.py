"""NYU Depth v2: finds its frames and applies the field's protocol of depth completion."""

from fcfrnet_jax.data.nyu.frames import SPLITS, is_stored_in, refuse_labelled, search_frames
from fcfrnet_jax.data.nyu.protocol import CROP, INTRINSICS, LIMITS, POINTS

__all__ = [
    "CROP",
    "INTRINSICS",
    "LIMITS",
    "POINTS",
    "SPLITS",
    "is_stored_in",
    "refuse_labelled",
    "search_frames",
]
