# For compiled code alone.
