"""CT series, segmentations and contours of a DICOM export, read by an allow-list of technical tags."""
