"""The steps of one turn: account selection, credentials, retries, limits, usage. Knows contracts, owns no library."""
