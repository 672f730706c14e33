"""Layers that cells and the networks around them are made of."""
