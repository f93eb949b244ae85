"""Iotistica by REST and WebSocket: its cloud's view of the agents."""
