"""Iotistica: edge agents by MQTT, their cloud by REST and WebSocket (facts 1)."""
