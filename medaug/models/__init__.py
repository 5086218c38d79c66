"""The GAN methods: insertion of tumors, translation between domains, crops from noise; their networks and losses."""
