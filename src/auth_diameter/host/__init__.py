"""`auth-diameter serve`: a small SIP server around the three functions."""
