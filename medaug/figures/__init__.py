"""Pictures and charts as PNG bytes: grids of images, plots of scores, animations."""
