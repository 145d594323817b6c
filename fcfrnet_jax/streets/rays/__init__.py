"""Ray casting: which solid of a street each ray hits first, and at which distance."""
