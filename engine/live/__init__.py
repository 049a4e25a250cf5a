"""The market as it trades: the feed, its journal, the ladder that grows from it, and alerts."""
