"""What happens for each request, question and answer: on structs, without the GIL."""
