"""What happens for each request or question, on structs and without the GIL."""
