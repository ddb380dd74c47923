"""Outcomes other than a class: survival, a number, a grade."""
