# For compiled code alone: what Python may touch of it is in disc.pyi.
