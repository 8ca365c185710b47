"""Compiled kernels. Import the modules inside functions only: importing one imports Numba."""
