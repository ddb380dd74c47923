"""Classifiers of bags, one file per model; `registry` finds them by name."""
