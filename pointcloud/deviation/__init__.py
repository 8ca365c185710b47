"""Scan against nominal: the field of deviations and what is read off it."""
