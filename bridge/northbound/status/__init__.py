"""Health, readiness, metrics, the admin API and the status page."""
