"""The run folder: its paths, the markers of finished stages, locks, and what weights and cases were made from."""
