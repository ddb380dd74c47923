"""The plan of a run, made before any work: names, models, folds, checks for leakage."""
