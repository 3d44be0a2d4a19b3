"""Checks of the arguments of Python functions."""

from cpython.number cimport PyNumber_Index

cdef inline object checked(object value, str name, object most):
    """An argument as an integer.

    Raises:
        ConfigError: it is not from 0 to `most`.
        TypeError: it is not an integer.
    """
    number = PyNumber_Index(value)
    if not 0 <= number <= most:
        from auth_diameter._core.errors import ConfigError

        raise ConfigError(f"{name}: {number} is not from 0 to {most}")
    return number
