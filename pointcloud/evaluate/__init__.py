"""From features in a point cloud to characteristics with uncertainty and verdict."""
