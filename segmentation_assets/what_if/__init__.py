"""Dry run of months under other rules, and the calibration of the rules by what they would give."""
