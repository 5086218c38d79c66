"""The benchmark: what it plans and runs, what it found, the page that shows it, and what is exported of it."""
