"""The front rooms: one folder per language the plant speaks."""
