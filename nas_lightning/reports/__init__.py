"""Reports: pictures of cells and weights, and watching a search.

Nothing is imported here: drawing needs neither torch nor Lightning, and starts at once.
"""
