"""The folder of results: its record, who holds it, and how new results replace earlier ones."""
