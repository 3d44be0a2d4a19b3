"""State between requests: nonce counts, penalties, transactions."""
