"""Tasks, their order, and what keeps them alive."""
