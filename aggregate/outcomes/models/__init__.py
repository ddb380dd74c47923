"""Models of survival, of a number, and of a grade."""
