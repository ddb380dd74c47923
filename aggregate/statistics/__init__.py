"""What is estimated from out-of-fold predictions, and how surely: arrays in, arrays out, no files."""
