"""One file per source file; sentences about behaviour."""
