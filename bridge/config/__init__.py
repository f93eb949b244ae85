"""Files to Config: the union of every room's config model, with every fault at its line and column."""
