"""The subcommands of `spymaster`, one module each; a module is imported when its command is used or described."""
