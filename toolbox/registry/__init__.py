"""Registries: which ones to ask, who we are to them, and the distribution-spec they speak."""
