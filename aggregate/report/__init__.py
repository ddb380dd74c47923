"""The report that a radiologist reads: one self-contained page, made from the tables of a results folder."""
