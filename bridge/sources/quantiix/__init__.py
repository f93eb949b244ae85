"""Quantiix: machine states and activity, read only."""
