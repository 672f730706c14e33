"""Studies: searches over many seeds, and how far their results can be trusted."""
