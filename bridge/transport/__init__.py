"""How bytes travel: HTTP, MQTT, and the one clock. No vendor and no northbound is known here."""
