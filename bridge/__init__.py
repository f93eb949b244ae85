"""plantbridge: vendor APIs in, OPC UA, Sparkplug B and a Unified Namespace out, from one mapping."""

__version__ = "0.1.0"
