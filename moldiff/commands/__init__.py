"""The commands of the command line, a module for each group: parse, call one function, print."""
