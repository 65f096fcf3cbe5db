"""Containers: what `ptb run` makes, shows and removes."""
