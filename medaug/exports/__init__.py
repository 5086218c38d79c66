"""What medaug makes, as the files that others' tools read."""
