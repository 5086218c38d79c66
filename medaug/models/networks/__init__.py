"""Networks of the methods: tensors in, tensors out; no files, no metadata, no randomness but initial weights."""
