"""Models of the sensors: pinhole cameras, spinning laser scanners, and the beams of a scanner."""
