"""Explanations of the classes from out-of-fold models, each with a control."""
