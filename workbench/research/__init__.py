"""What the Research view shows, asked of the engine once for each state of the lake; computes nothing of its own.

``asked`` has what all questions share, the other files a question each: `conditions`, `audited`, `rates`, `explorer`, `quality`. Each is
of one market, that of the contract on the page. All may take seconds: views ask in a thread (`workbench.views.background`).
"""
