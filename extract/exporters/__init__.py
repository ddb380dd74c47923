"""Export: bags as folders that other programs read."""
