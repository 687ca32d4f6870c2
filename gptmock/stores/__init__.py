"""Persistent and shared state: Redis, SQLite, memory, encryption at rest. Knows files and locks, never a request."""
