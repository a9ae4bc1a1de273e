"""Exports: whom a campaign is sent to in a month, as files under one address."""
