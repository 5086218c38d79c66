"""Commands on a single scan."""
