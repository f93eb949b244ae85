"""The OPC UA server."""
