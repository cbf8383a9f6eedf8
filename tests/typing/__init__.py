"""What users write, for the type checkers to read."""
