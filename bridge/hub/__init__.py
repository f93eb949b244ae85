"""The table in the hall: the current value of every tag, its readers, and the log."""
