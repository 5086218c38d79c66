"""The downstream test: the same network for every arm, its scores per patient, and the verdict."""
