"""Where secrets rest. Knows files and locks, never a request."""
