"""Pixels in and out: the only room that opens rasters."""
