"""A frozen model that leaves the experiment: made of a finished run, asked about new patients, and verified."""
