"""Stage 2: bags to folds to models to out-of-fold predictions to tables."""
