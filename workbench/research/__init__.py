"""What the Research view shows of one market, asked of the engine once for each state of the lake; computes nothing of its own."""
