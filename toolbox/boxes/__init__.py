"""Boxes: the root file systems you enter as yourself."""
