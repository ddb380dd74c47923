"""What both stages share: the bag format, the cohort table, configurations, provenance, errors. No torch."""
