"""What the kernel meets: syscalls, id maps, namespaces, mounts, and the OCI runtime. Standard library only."""

__version__ = "0.1.0"
