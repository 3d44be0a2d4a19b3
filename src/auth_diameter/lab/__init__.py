"""What is for trying out: the demo and its telephone."""
