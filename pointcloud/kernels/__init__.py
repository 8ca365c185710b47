"""Compiled kernels of point clouds and nominals: plain functions over ranges, no allocation of results."""
