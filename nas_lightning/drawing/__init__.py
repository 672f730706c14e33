"""Pictures of cells and of mixing weights."""
