"""Cross-validation: every model trained on every fold, and what it predicts of patients it never saw."""
