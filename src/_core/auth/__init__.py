"""What is asked of a back end about a request, and what is decided."""
