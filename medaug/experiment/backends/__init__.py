"""Who trains the downstream networks, and what is written for them."""
