"""Readers of point clouds: one small module per format, chosen by the registry from first bytes and extension."""
