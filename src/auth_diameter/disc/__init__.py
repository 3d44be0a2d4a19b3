"""DISC, the Diameter server that authenticates the subscribers: its listener, its turns and its answers."""
