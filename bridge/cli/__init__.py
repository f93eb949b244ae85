"""One file per verb; no logic of its own."""
