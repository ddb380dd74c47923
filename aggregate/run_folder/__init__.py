"""The results folder: its record, its lock, and the replacement of earlier results."""
