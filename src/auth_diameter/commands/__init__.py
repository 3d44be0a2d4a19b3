"""The commands: a module for each, and modules for their options, process, files and output."""
