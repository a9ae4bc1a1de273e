"""Alerts: collected from Dagster's storage, rendered as messages, kept until delivered."""
