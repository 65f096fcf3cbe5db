"""A container's network: its namespace, the program that connects it, published ports, and the names it knows."""
