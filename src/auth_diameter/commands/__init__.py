"""The commands: a module for each program, over the options and the process that they share."""
