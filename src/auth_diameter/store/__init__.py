"""Who the subscribers are, and who knows their HA1."""
