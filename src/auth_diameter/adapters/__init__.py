"""The three functions inside SIP servers that are not written in Python, or not for this package.

`kemi` is for Kamailio, `opensips` for OpenSIPS, `sippy` for the B2BUA of that name.
"""
