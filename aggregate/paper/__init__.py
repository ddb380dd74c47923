"""What a journal wants of a run: numbered tables, figures at the width of a column, and the methods with their numbers."""
