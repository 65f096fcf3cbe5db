"""What the kernel meets: syscalls, id maps, namespaces, mounts. Standard library only."""
