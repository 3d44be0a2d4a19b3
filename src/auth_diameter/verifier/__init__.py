"""Whether credentials are right: nonces, counts, guesses, digests."""
