"""Simulators of every vendor, as unkind as the real thing."""
