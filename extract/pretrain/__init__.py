"""Pretraining of an encoder without data: images drawn by formula, and a network trained to describe them."""
