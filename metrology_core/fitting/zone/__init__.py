"""Minimum zone, one-sided zones, maximum inscribed and minimum circumscribed features: exact to rounding, with
proof.
"""
