"""The desk: where commands are checked, ordered and answered."""
