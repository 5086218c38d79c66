"""The audits of a finished run: what they are given, which there are, and what is written of them."""
