"""Stage 1: scans to tumour slices to a frozen encoder to bags."""
