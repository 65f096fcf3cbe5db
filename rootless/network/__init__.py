"""Networks of containers: namespaces, the helpers that connect them, published ports, and the files that name hosts."""
