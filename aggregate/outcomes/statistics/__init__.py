"""What is measured of models of an outcome."""
