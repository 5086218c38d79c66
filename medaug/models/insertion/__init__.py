"""The mask-guided methods: insertion ("a2b") and removal ("b2a") of a tumor in a crop, one method a file."""
