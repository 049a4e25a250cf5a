"""Reports as single files: frames in, a file out. The command line calls them by name; they know neither lake nor simulator."""
