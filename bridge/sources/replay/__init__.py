"""Replay: a file that `plantbridge record` has written, as a source."""
