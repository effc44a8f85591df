"""Commands that put the program, or its address, where the user's other programs find it."""
