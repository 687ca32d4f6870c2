"""The soak: real servers under load for minutes, with faults, and what they hold meanwhile."""
