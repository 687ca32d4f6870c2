"""The hub language: the upstream's own words, and their framing on the wire. Pure: no I/O, no clock, no log."""
