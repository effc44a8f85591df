"""The training of the classifier's model; nothing here is loaded when the program runs."""
