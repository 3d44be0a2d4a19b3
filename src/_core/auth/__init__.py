"""The question about a request, the answer of a back end, and the decision."""
