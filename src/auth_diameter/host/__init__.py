"""The SIP/UDP server of `auth-diameter serve`, around the three functions."""
