"""Everything that touches asyncua's private names, and nothing else."""
