"""Containers, as docker's and podman's users know them; boxes are next door."""
