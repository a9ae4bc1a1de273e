"""Dry run of published months under other rules."""
