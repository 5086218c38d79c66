"""The downstream experiment: its arms, its cells, what a cell trains and scores, and the summary of them."""
