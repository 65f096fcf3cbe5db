"""What the user meets: the command line, boxes, images and registries."""

__version__ = "0.1.0"
