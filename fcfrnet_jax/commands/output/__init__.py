"""What an evaluation writes to its workdir."""
