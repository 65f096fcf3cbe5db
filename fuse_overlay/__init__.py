"""Layers and images on disk: content store, unpacking, and the driver that stacks layers."""
