"""Caches of earlier computations by content: fits of models and measurements of slices."""
