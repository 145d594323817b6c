"""The geometry of streets: the solids of which the ground, houses, cars and plants are built."""
