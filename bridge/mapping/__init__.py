"""From a vendor's payload to tags, and from a command to a vendor's payload: pure, compiled once."""
