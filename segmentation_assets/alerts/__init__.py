"""Alerts: found in Dagster's storage, worded, kept until delivered."""
