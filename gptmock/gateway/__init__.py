"""The order of events in one turn. Knows contracts only, owns no library."""
