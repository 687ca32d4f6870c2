"""What clients call things: one folder for each dialect. Pure: no I/O, no clock, no log."""
