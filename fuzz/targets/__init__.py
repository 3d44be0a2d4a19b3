"""What is fuzzed: each target is a C function of pointer and length, over the functions that ship.

A target calls the parsers of ``auth_diameter._core`` as the package's own modules do. Then it holds what they
said against what must be true of any input (an oracle): spans lie inside the input, what was accepted is
accepted again with the same parts, what is written has the form that its reader relies on. A broken promise
is named on standard error and ends the process, as a read out of bounds does. Nothing but `request_path`
touches a Python object once it is loaded.

`TARGETS` has the address of each by its name, for harness.c.
"""

from targets import dialect, grammar, messages, paths, requests, standard

TARGETS = {
    name: address
    for module in (grammar, messages, requests, dialect, standard, paths)
    for name, address in module.TARGETS.items()
}
