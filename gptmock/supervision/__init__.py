"""The processes of a server: a supervisor, a starter, workers."""
