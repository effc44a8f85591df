"""Front door (command line) and front end (Textual) of the engine."""
