"""What the classes mean: explanations from out-of-fold models, each beside its control."""
