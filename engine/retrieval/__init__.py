"""Similar setups from history, what they did, and how far that can be believed."""
