"""The CSV tables of stage 2 (contract 4), each derived from the predictions and the facts of the cohort."""
