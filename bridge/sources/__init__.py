"""The back doors: one folder per vendor."""
