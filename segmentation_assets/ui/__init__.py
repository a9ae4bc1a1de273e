"""Dagster's UI for one person at their own machine, behind a guard against web pages and other host names."""
