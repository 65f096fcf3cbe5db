"""One function per command: its signature is its command line, its docstring its help, its body one call."""
