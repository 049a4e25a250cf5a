"""Subcommands that draw: the engine knows no screen, so they are here and the command line names them by their dotted path."""
