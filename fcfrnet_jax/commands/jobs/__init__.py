"""Jobs of several processes: how they start, and how all end when one of them fails."""
