"""Health, readiness and the admin API."""
