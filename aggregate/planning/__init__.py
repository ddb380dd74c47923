"""What a run will do, found out before any work: names, models, folds, leaks."""
