"""Iotistica by MQTT: what agents publish, and writes to their devices."""
