"""The patients of an experiment: their table, bags and covariates, and the patients left out."""
