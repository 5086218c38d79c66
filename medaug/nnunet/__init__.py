"""medaug inside nnU-Net v2 (extra `nnunet`): trainers that insert or paste tumors into its patches, online.

Nothing here imports nnU-Net but `library`, `trainer` and `__main__`: data sets, plans and folds are read as the JSON
files that they are.
"""
