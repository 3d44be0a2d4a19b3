"""The client side of the three functions: what to ask DISC about a request, and what its answer means."""
