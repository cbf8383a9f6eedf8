"""The house itself: what is shipped, locked, exported and tracked."""
