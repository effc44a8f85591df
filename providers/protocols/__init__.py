"""Wire protocols, one package each, one file per direction; pure, no I/O."""
