"""Real programs in panes: a terminal engine, a child process on a pseudo-terminal, a widget."""
