"""State between requests: nonce counts, guesses, transactions."""
