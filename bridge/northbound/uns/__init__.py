"""Plain topics of a Unified Namespace."""
