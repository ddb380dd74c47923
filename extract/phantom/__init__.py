"""A synthetic multiphasic CT cohort of the liver: drawn first as signs, then as HU, then as voxels."""
