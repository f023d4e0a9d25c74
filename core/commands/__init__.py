"""What `python -m core COMMAND` does, a module for each part of the command line."""
