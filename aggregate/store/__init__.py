"""What was computed before, by content: fits of models and measures of slices."""
