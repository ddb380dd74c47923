"""The tables of a study: which configuration is best, which choice matters, and how much of it is luck."""
