"""Named peers, same work, same run."""
