"""Dagster's UI for one person at their own machine, behind a guard that no web page and no other host name gets past."""
