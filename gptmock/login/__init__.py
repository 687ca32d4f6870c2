"""A person's login: the browser's way back, the pasted URL, the device code. Must not know where tokens rest."""
