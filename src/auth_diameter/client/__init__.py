"""The three functions: what to ask about a request, and what the answer means for it."""
