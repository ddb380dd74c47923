"""From folders as they lie on a disk to a cohort table: one module for each layout."""
