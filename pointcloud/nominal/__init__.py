"""Nominal geometry: meshes and curves to which points are compared."""
