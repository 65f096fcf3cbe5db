"""What the user meets: the command line, boxes, images and registries."""

from rootless import __version__ as __version__
