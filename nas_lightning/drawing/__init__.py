"""Drawings of cells and of mixing weights."""
