"""Verification of credentials: digests, nonces, nonce counts, and penalties for guesses."""
