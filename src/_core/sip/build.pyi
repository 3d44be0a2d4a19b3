# Compiled code alone uses this module: it has no names for Python.
