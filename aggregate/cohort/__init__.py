"""The patients of an experiment: one table of them, their bags and covariates, and everybody left out."""
