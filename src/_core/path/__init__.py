"""The path of a request and of its answer: what happens for each, on structs, without the GIL."""
