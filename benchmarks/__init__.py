"""Measurements: what the bridge costs and how fresh its clients are. See README.md; nothing is asserted."""
