"""Sections of the report on outcomes other than a class."""
